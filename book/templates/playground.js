// Draws each figure anew for what its sliders say; the formulas are those of book/playground.py.

const STEPS = 30;
const START = [-1.8, 0.9];
const CURVATURES = [1, 20];
const [CELLS, CELL, ROW] = [45, 14, 34];
const whole = (value) => Math.round(value).toLocaleString("en-US");
const short = (value) => String(Number(value.toPrecision(3)));

const DRAW = {
  overlap({ dx, dy }, section) {
    const moved = section.querySelector("#moved");
    moved.setAttribute("x", 130 + dx);
    moved.setAttribute("y", 100 + dy);
    const shared = Math.max(0, 120 - Math.abs(dx)) * Math.max(0, 90 - Math.abs(dy));
    const union = 2 * 120 * 90 - shared;
    return `${whole(shared)} shared of ${whole(union)}: IoU ${(shared / union).toFixed(3)}`;
  },

  momentum({ lr, beta }, section) {
    const [weights, velocity, points] = [[...START], [0, 0], []];
    const note = () => {
      const [x, y] = [190 + 90 * weights[0], 145 - 90 * weights[1]];
      points.push(`${Math.max(-1e4, Math.min(1e4, x))},${Math.max(-1e4, Math.min(1e4, y))}`);
    };
    note();
    for (let step = 0; step < STEPS; step++) {
      CURVATURES.forEach((curvature, axis) => {
        velocity[axis] = beta * velocity[axis] + lr * curvature * weights[axis];
        weights[axis] -= velocity[axis];
      });
      note();
    }
    section.querySelector("#way").setAttribute("points", points.join(" "));
    return `loss ${short(loss(START))} at first, ${short(loss(weights))} after ${STEPS} steps`;
  },

  field({ layers, kernel, stride }, section) {
    const counts = [1];
    for (let layer = 0; layer < layers; layer++) counts.push((counts.at(-1) - 1) * stride + kernel);
    const cells = counts.flatMap((count, row) => Array.from({ length: CELLS }, (_, index) => cell(count, row, index)));
    section.querySelector("#cells").replaceChildren(...cells);
    return `one cell of the last layer sees ${counts.at(-1)} cells of the picture's row`;
  },
};

function loss(weights) {
  return weights.reduce((sum, weight, axis) => sum + (CURVATURES[axis] * weight * weight) / 2, 0);
}

function cell(count, row, index) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  const sides = { x: 5 + index * CELL, y: 10 + row * ROW, width: CELL - 2, height: CELL - 2 };
  for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, value);
  rect.setAttribute("class", Math.abs(index - Math.floor(CELLS / 2)) * 2 < count ? "seen" : "unseen");
  return rect;
}

for (const [name, draw] of Object.entries(DRAW)) {
  const section = document.getElementById(name);
  const form = section.querySelector("form");
  form.hidden = false;
  form.addEventListener("input", () => {
    const inputs = [...form.querySelectorAll("input")];
    for (const input of inputs) input.parentElement.querySelector("b").textContent = input.value;
    const values = Object.fromEntries(inputs.map((input) => [input.name, Number(input.value)]));
    section.querySelector("output").textContent = draw(values, section);
  });
}
