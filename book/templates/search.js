// Search in all chapters: sections in which every word occurs, those with a word in their title first.

const field = document.querySelector(".search input");
const list = document.querySelector(".search .found");
const MOST = 12;
const AROUND = 60; // letters shown on each side of the first hit

// The text of all chapters is read when somebody wants to search.
field.addEventListener("focus", () => {
  if (document.querySelector("script[src='sections.js']")) return;
  const script = document.createElement("script");
  script.src = "sections.js";
  script.onload = show;
  document.head.append(script);
});

field.addEventListener("input", show);

document.addEventListener("keydown", (event) => {
  const links = [...list.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) {
    event.preventDefault();
    field.focus();
  } else if (event.key === "Escape") {
    field.value = "";
    field.blur();
    show();
  } else if (event.key === "Enter" && event.target === field) {
    links[0]?.click();
  } else if (!list.hidden && event.key === "ArrowDown") {
    event.preventDefault();
    links[at + 1]?.focus();
  } else if (!list.hidden && event.key === "ArrowUp") {
    event.preventDefault();
    (links[at - 1] ?? field).focus();
  }
});

document.addEventListener("click", (event) => {
  if (!event.target.closest(".search") || event.target.closest(".found a")) list.hidden = true;
});

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  list.hidden = words.length === 0 || typeof SECTIONS === "undefined";
  if (list.hidden) return;
  const found = search(words);
  const items = found.slice(0, MOST).map((section) => entry(section, words));
  if (!found.length) items.push(note("Nothing found."));
  if (found.length > MOST) items.push(note(`and ${found.length - MOST} more: another word narrows it`));
  list.replaceChildren(...items);
}

function search(words) {
  return SECTIONS.map((section) => [score(section, words), section])
    .filter(([points]) => points > 0)
    .sort(([a], [b]) => b - a)
    .map(([, section]) => section);
}

function score([, chapter, title, text], words) {
  const heading = `${chapter} ${title}`.toLowerCase();
  const body = text.toLowerCase();
  let points = 0;
  for (const word of words) {
    const times = body.split(word).length - 1;
    const inHeading = heading.includes(word);
    if (!times && !inHeading) return 0;
    points += Math.min(times, 9) + 20 * inHeading;
  }
  return points;
}

function entry([address, chapter, title, text], words) {
  const link = document.createElement("a");
  link.href = address;
  const where = document.createElement("b");
  where.textContent = chapter.endsWith(title) ? chapter : `${chapter} — ${title}`;
  link.append(where, excerpt(text, words));
  const item = document.createElement("li");
  item.append(link);
  return item;
}

function excerpt(text, words) {
  const at = Math.max(0, ...words.map((word) => text.toLowerCase().indexOf(word)));
  const start = Math.max(0, at - AROUND);
  const part = text.slice(start, at + 2 * AROUND);
  const line = document.createElement("span");
  const marks = new RegExp(`(${words.map((word) => word.replace(/[^\w\s]/g, "\\$&")).join("|")})`, "gi");
  line.append(start ? "… " : "");
  part.split(marks).forEach((piece, index) => {
    if (index % 2) {
      const mark = document.createElement("mark");
      mark.textContent = piece;
      line.append(mark);
    } else line.append(piece);
  });
  line.append(" …");
  return line;
}

function note(text) {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  return item;
}
