"""Three figures to play with: overlap, momentum, receptive field.

Each is drawn here in one state, with a table of others, and can be read as it stands;
``templates/playground.js`` draws it anew for what the sliders say, with the same formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

STEPS, START, CURVATURES = 30, (-1.8, 0.9), (1.0, 20.0)
CELLS, CELL, ROW = 45, 14, 34  # of the receptive field: cells in a row, their size, rows' distance


def overlap(dx: float, dy: float, width: float = 120, height: float = 90) -> tuple[float, ...]:
    """Intersection, union and IoU of a box and the same box moved by (dx, dy)."""
    shared = max(0.0, width - abs(dx)) * max(0.0, height - abs(dy))
    union = 2 * width * height - shared
    return shared, union, shared / union


def descent(lr: float, momentum: float) -> list[tuple[float, float]]:
    """The way of two weights down a valley, loss = sum of c w^2 / 2 (thesis, equation 3-2)."""
    weights, velocity, way = list(START), [0.0, 0.0], [START]
    for _ in range(STEPS):
        for axis, curvature in enumerate(CURVATURES):
            velocity[axis] = momentum * velocity[axis] + lr * curvature * weights[axis]
            weights[axis] -= velocity[axis]
        way.append(tuple(weights))
    return way


def loss(weights: Sequence[float]) -> float:
    return sum(c * w * w / 2 for c, w in zip(CURVATURES, weights, strict=True))


def seen(layers: int, kernel: int, stride: int) -> list[int]:
    """How many cells of each row one cell of the last sees, from the last row to the picture:
    r = (r - 1) stride + kernel."""
    found = [1]
    for _ in range(layers):
        found.append((found[-1] - 1) * stride + kernel)
    return found


def playground() -> str:
    """The body of the page."""
    return f"""<main class="prose other playground">
<h1>Figures to play with</h1>
<p>Each stands in one state, with others in a table below it. Where scripts run, the sliders change
it: with the mouse, or with the Tab and arrow keys.</p>
{_overlap()}{_momentum()}{_field()}
<script src="playground.js"></script>
</main>"""


def _overlap() -> str:
    rows = ((0, 0), (20, 0), (40, 0), (60, 0), (30, 30), (60, 45), (120, 0))
    table = _table(
        ("right", "down", "intersection", "union", "IoU"),
        ((dx, dy, *(f"{value:,.0f}" for value in overlap(dx, dy)[:2]), f"{overlap(dx, dy)[2]:.3f}")
         for dx, dy in rows),
    )  # fmt: skip
    picture = (
        '<rect x="130" y="100" width="120" height="90" class="first"/>'
        '<rect id="moved" x="170" y="130" width="120" height="90" class="second"/>'
    )
    shared, union, iou = overlap(40, 30)
    said = f"{shared:,.0f} shared of {union:,.0f}: IoU {iou:.3f}"
    sliders = _slider("dx", "right", -130, 130, 1, 40) + _slider("dy", "down", -95, 95, 1, 30)
    text = (
        "How much do two boxes of 120 x 90 pixels overlap, if one is moved? Half a width aside, "
        "and the IoU is a third. Chapter 08."
    )
    what = "Two equal boxes, one moved to the right and down."
    return _figure("overlap", "Overlap", text, sliders, picture, 290, what, said, table)


def _momentum() -> str:
    settings = ((0.02, 0.0), (0.02, 0.5), (0.02, 0.9), (0.09, 0.0), (0.11, 0.0), (0.11, 0.9))
    table = _table(
        ("learning rate", "momentum", f"loss after {STEPS} steps"),
        ((lr, beta, f"{loss(descent(lr, beta)[-1]):.3g}") for lr, beta in settings),
    )
    points = " ".join(f"{190 + 90 * x:.1f},{145 - 90 * y:.1f}" for x, y in descent(0.02, 0.9))
    rings = "".join(
        f'<ellipse cx="190" cy="145" rx="{90 * radius:.1f}" ry="{90 * radius / 20**0.5:.1f}"/>'
        for radius in (0.5, 1, 1.5, 2, 2.5)
    )
    picture = f'<g class="rings">{rings}</g><polyline id="way" points="{points}"/>'
    said = (
        f"loss {loss(START):.3g} at first, {loss(descent(0.02, 0.9)[-1]):.3g} after {STEPS} steps"
    )
    sliders = _slider("lr", "learning rate", 0.005, 0.12, 0.005, 0.02)
    sliders += _slider("beta", "momentum", 0, 0.98, 0.02, 0.9)
    text = (
        "A valley twenty times as steep one way as the other, and the thesis's momentum: "
        "v = βv + α gradient, W = W - v. Where does it swing, where does it creep, and when does "
        "it leave the valley? Chapter 02."
    )
    what = "Ellipses of equal loss, and the way of 30 steps across them."
    return _figure("momentum", "Momentum", text, sliders, picture, 290, what, said, table)


def _field() -> str:
    settings = ((1, 3, 1), (2, 3, 1), (3, 3, 1), (3, 5, 1), (2, 3, 2), (3, 3, 2), (4, 3, 2))
    table = _table(
        ("layers", "kernel", "stride", "cells seen"),
        ((*each, seen(*each)[-1]) for each in settings),
    )
    picture = f'<g id="cells">{"".join(_cells(seen(3, 3, 1)))}</g>'
    said = f"one cell of the last layer sees {seen(3, 3, 1)[-1]} cells of the picture's row"
    sliders = _slider("layers", "layers", 1, 5, 1, 3) + _slider("kernel", "kernel", 1, 7, 2, 3)
    sliders += _slider("stride", "stride", 1, 2, 1, 1)
    text = (
        "One row of the picture is at the bottom, one cell of the last layer on top. With each "
        "layer of stride 1 a kernel of 3 sees two cells more; with stride 2 the number doubles, "
        "and one. Chapters 03 and 06."
    )
    what = "Rows of cells, one for each layer; those that the top cell depends on are dark."
    height = ROW * 6 + 10
    return _figure("field", "Receptive field", text, sliders, picture, height, what, said, table)


def _cells(counts: Sequence[int]) -> Iterable[str]:
    """Rows from the top: as many dark cells as are seen, light ones to both sides."""
    for row, count in enumerate(counts):
        for index in range(CELLS):
            dark = abs(index - CELLS // 2) * 2 < count
            yield (
                f'<rect x="{5 + index * CELL}" y="{10 + row * ROW}" width="{CELL - 2}" '
                f'height="{CELL - 2}" class="{"seen" if dark else "unseen"}"/>'
            )


def _figure(name, title, text, sliders, picture, height, what, said, table) -> str:
    return f"""<section id="{name}">
<h2>{title}</h2>
<p>{text}</p>
<form class="sliders" hidden>{sliders}</form>
<figure class="play" tabindex="0">
<svg viewBox="0 0 640 {height}" role="img" aria-label="{what}">{picture}</svg></figure>
<p><output aria-live="polite">{said}</output></p>
{table}
</section>
"""


def _slider(name, label, low, high, step, value) -> str:
    return (
        f'<label>{label} <input type="range" name="{name}" min="{low}" max="{high}" '
        f'step="{step}" value="{value}"> <b>{value}</b></label>'
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{each}</td>' for each in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
