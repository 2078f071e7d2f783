"""The course as a table: what each chapter is about, how long it takes, where to pause.

``python -m book.course`` writes it into the chapters: the map that stands under each title, a
picture in ``chapters/map``, and the line below it. The first page of the book and docs/teaching.md
say the same, and tests compare them.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path

from book.folders import CHAPTERS, notebooks
from nn.files import atomic_file


@dataclass(frozen=True)
class Row:
    """One chapter.

    Attributes:
        part: of the course.
        boxes: of the map, that it is about.
        reading, exercises: minutes, estimated: 100 words of prose and 4 lines of code in a minute,
            15 minutes an exercise.
        difficulty: 1 to 3.
        pause: the section before which a sitting may end.
        skip: what a first reading can do without.
    """

    part: str
    boxes: tuple[str, ...]
    reading: int
    exercises: int
    difficulty: int
    pause: str
    skip: str


TENSORS, FAST, BACKBONE = "Tensors that learn", "What a layer costs", "The backbone"
REGIONS, DETECTOR, BEYOND = "Regions", "The detector", "Beyond one model"
NOTHING = "nothing, the rest needs all of it"
COURSE = {
    "01": Row(TENSORS, ("tensors",), 115, 90, 2, "4. From numbers to arrays", NOTHING),
    "02": Row(
        TENSORS, ("layers",), 65, 90, 1, "4. A step, and a better step",
        'section 5, "Where the learning rate sits"',
    ),
    "03": Row(
        FAST, ("convolution",), 95, 90, 3, "5. Fourth way: offsets",
        "section 5, the steepest of the course",
    ),
    "04": Row(
        FAST, ("cost",), 90, 90, 2, "5. Where does the time of a network go?",
        'section 3, "What a number costs", if you know the roofline',
    ),
    "05": Row(
        FAST, ("cost",), 90, 90, 2, "4. P2: groups",
        "sections 4 and 5, which do for P2 and P3 what section 3 does for P1",
    ),
    "06": Row(
        BACKBONE, ("backbone",), 80, 75, 1, "The whole network",
        '"Its gradient, and a test that cannot fail", if chapter 01 is fresh',
    ),
    "07": Row(BACKBONE, ("backbone",), 85, 90, 2, "Taking things away", NOTHING),
    "08": Row(REGIONS, ("boxes",), 65, 120, 1, "Who is responsible?", '"Why stride 16"'),
    "09": Row(REGIONS, ("proposals",), 75, 90, 2, "Training, step by step", NOTHING),
    "10": Row(REGIONS, ("pooling",), 80, 90, 2, "What is it worth?", '"Their gradients"'),
    "11": Row(
        DETECTOR, ("thin map", "head"), 100, 105, 3, "The light head",
        '"Where the time goes, head by head"',
    ),
    "12": Row(
        DETECTOR, ("detections", "training"), 110, 90, 2, "Something to learn from", NOTHING
    ),
    "13": Row(
        BEYOND, ("speed",), 100, 90, 3, "Step 3: shuffle for free",
        "step 2, if you take its result on trust",
    ),
    "14": Row(
        BEYOND, ("machines",), 130, 90, 3, "Bytes: a message is not a packet",
        '"The library\'s server"',
    ),
    "15": Row(
        BEYOND, ("machines",), 100, 90, 2, "The experiments", '"What a backbone forgets"'
    ),
    "16": Row(
        BEYOND, ("picture", "detections", "training"), 40, 60, 2, "What does it get wrong?", NOTHING
    ),
}  # fmt: skip

# The map: name, left and top, what it says. Shapes are those of a picture of 480 x 640 pixels and
# of the detector in setting S, without the axis of the batch.
WIDTH, HEIGHT, BOX = 760, 246, (110, 56)
WAY = {
    "picture": (10, 46, "picture", "3 × 480 × 640", ""),
    "backbone": (136, 46, "backbone", "c4 232 × 30 × 40", "c5 464 × 15 × 20"),
    "proposals": (262, 10, "proposals", "18,000 anchors", "1,000 boxes"),
    "thin map": (262, 82, "thin map", "490 × 15 × 20", ""),
    "pooling": (388, 46, "region pooling", "1,000 × 10 × 7 × 7", ""),
    "head": (514, 46, "light head", "1,000 × 2,048", "81 scores, 4 deltas"),
    "detections": (640, 46, "detections", "at most 100", ""),
}
ARROWS = (
    ("picture", "backbone"), ("backbone", "proposals"), ("backbone", "thin map"),
    ("proposals", "pooling"), ("thin map", "pooling"), ("pooling", "head"), ("head", "detections"),
)  # fmt: skip
GROUND = {
    "tensors": "tensors", "layers": "layers", "convolution": "convolution", "cost": "cost",
    "boxes": "boxes", "training": "training", "speed": "speed", "machines": "many tasks",
}  # fmt: skip
DARK, INK, LINE, PAPER = "#101f3c", "#22262c", "#8a8f98", "#fdfcfa"


def map_of(number: str) -> str:
    """The map as SVG, the boxes of a chapter dark."""
    current = COURSE[number].boxes
    parts = [_arrow(WAY[start], WAY[end]) for start, end in ARROWS]
    parts += [_box(*WAY[name], *BOX, name in current) for name in WAY]
    parts.append(f'<text x="10" y="172" font-size="12" fill="{INK}">what all of it rests on</text>')
    step = (WIDTH - 20 + 8) / len(GROUND)
    for index, (name, text) in enumerate(GROUND.items()):
        parts.append(_box(10 + index * step, 184, text, "", "", step - 8, 40, name in current))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" text-anchor="start">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>{"".join(parts)}</svg>\n'
    )


def description(number: str) -> str:
    """What the map shows, for who does not see it."""
    return (
        "Map of the course: a picture goes through the backbone, whose maps give proposals and the "
        "thin map, then through region pooling and the light head to detections. This chapter is "
        f"about: {', '.join(COURSE[number].boxes)}."
    )


def heading(number: str) -> str:
    """The cell under a chapter's title."""
    row = COURSE[number]
    return (
        f"![{description(number)}](map/{number}.svg)\n\n"
        f"About {row.reading} minutes to read and {row.exercises} for the exercises · difficulty "
        f"{row.difficulty} of 3 · a good place to pause: before *{row.pause}* · can be skipped: "
        f"{row.skip}. [Notation](notation.md) · [references](references.md)."
    )


def write(folder: Path = CHAPTERS) -> None:
    """Write the maps of a folder's chapters, and the cells that show them."""
    (folder / "map").mkdir(exist_ok=True)
    for path in notebooks(folder):
        number = path.name[:2]
        with atomic_file(folder / "map" / f"{number}.svg") as file:
            file.write(map_of(number).encode())
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in notebook["cells"] if cell["id"] != f"map-{number}"]
        source = heading(number).splitlines(keepends=True)
        cell = {"cell_type": "markdown", "id": f"map-{number}", "metadata": {}, "source": source}
        notebook["cells"] = [cells[0], cell, *cells[1:]]
        with atomic_file(path) as file:
            text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
            file.write(f"{text}\n".encode())


def _box(x, y, title, first, second, width, height, dark) -> str:
    fill, ink = (DARK, "white") if dark else ("white", INK)
    lines = [line for line in (title, first, second) if line]
    top = y + height / 2 - 7 * (len(lines) - 1) + 4
    texts = "".join(
        f'<text x="{x + width / 2:g}" y="{top + 15 * index:g}" text-anchor="middle" fill="{ink}" '
        f'font-size="{11 if index else 13}" font-weight="{400 if index else 700}">'
        f"{html.escape(line)}</text>"
        for index, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" fill="{fill}" '
        f'stroke="{LINE}"/>{texts}'
    )


def _arrow(start, end) -> str:
    x1, y1 = start[0] + BOX[0], start[1] + BOX[1] / 2
    x2, y2 = end[0], end[1] + BOX[1] / 2
    return (
        f'<path d="M{x1} {y1} L{x2} {y2}" stroke="{LINE}" stroke-width="1.5"/>'
        f'<circle cx="{x2}" cy="{y2}" r="3" fill="{LINE}"/>'
    )


if __name__ == "__main__":
    write()
