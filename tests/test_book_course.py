"""The table of the course: the maps and times in the chapters, the book and the teachers' page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import nbformat
import numpy as np
import pytest

import nn
from book.course import COURSE, GROUND, WAY, description, heading, map_of
from book.folders import CHAPTERS, ROOT, notebooks
from detector import LightHeadRCNN

TEACHING = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
REFERENCES = (CHAPTERS / "references.md").read_text(encoding="utf-8")
# "Dai et al. 2016", "Eckart and Young 1936", "He et al. (2015", "McNemar 1947".
CITED = re.compile(
    r"([A-Z][\w-]+ (?:et al\.|and [A-Z][\w-]+)|Girshick|Student|McNemar)(?:'s)?,? "
    r"\(?((?:19|20)\d\d)\b"
)
every_notebook = pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4).cells


@every_notebook
def test_each_chapter_shows_the_map_of_the_table(path):
    """If this fails: python -m book.course."""
    number = path.name[:2]
    second = read(path)[1]
    assert (second.id, second.source) == (f"map-{number}", heading(number))
    assert (CHAPTERS / "map" / f"{number}.svg").read_text(encoding="utf-8") == map_of(number)


@every_notebook
def test_the_sections_that_are_named_are_there(path):
    row, cells = COURSE[path.name[:2]], read(path)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert row.pause in sections
    for name in re.findall(r'"([^"]+)"', row.skip):
        assert any(section.endswith(name) for section in sections), name
    for number in re.findall(r"(?<=section )\d", row.skip):
        assert any(section.startswith(f"{number}. ") for section in sections), number


@every_notebook
def test_the_minutes_are_those_of_the_rule(path):
    """To a third: a chapter that grew has to say so."""
    words = lines = asked = 0
    for cell in read(path):
        if cell.cell_type == "markdown":
            words += len(cell.source.split())
        elif "plt." not in cell.source:
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
            asked += len(re.findall(r"\bexercises\.\w+\.check\(", cell.source))
    row = COURSE[path.name[:2]]
    assert row.reading == pytest.approx(words / 100 + lines / 4, rel=0.34)
    assert row.exercises == pytest.approx(15 * asked, rel=0.34)


@every_notebook
def test_the_teachers_page_has_its_row(path):
    number = path.name[:2]
    rows = re.findall(
        rf"^\| {number} \| (.+) \| (\d+) \| (\d+) \| (.+) \|$", TEACHING, re.MULTILINE
    )
    ((aims, reading, exercises, mistakes),) = rows
    assert (int(reading), int(exercises)) == (COURSE[number].reading, COURSE[number].exercises)
    assert len(aims) > 20 and mistakes.count(";") == 2


@every_notebook
def test_each_chapter_ends_with_what_you_can_do_now(path):
    last = read(path)[-1]
    assert last.id == f"now-{path.name[:2]}" and last.source.startswith("**What you can do now:**")
    assert last.source.count("\n- ") >= 2


@every_notebook
def test_everything_cited_is_among_the_references(path):
    text = " ".join(" ".join(cell.source.split()) for cell in read(path))
    cited = set(CITED.findall(text))
    assert [names for names in cited if " ".join(names) not in REFERENCES] == []


def test_every_reference_can_be_found():
    entries = re.findall(r"^- (.+)$", REFERENCES, re.MULTILINE)
    assert len(entries) > 25
    for entry in entries[2:]:  # the thesis and the slides are on no such page
        assert re.search(r"\b(19|20)\d\d\b.*\*[^*]+\*.*\]\(https://", entry), entry
        for shown, address in re.findall(r"\[(?:arXiv|doi):([^]]+)\]\(([^)]+)\)", entry):
            assert address.endswith(f"/{shown}"), entry


@pytest.mark.parametrize("number", COURSE)
def test_the_map_says_what_the_picture_shows(number):
    names = {*WAY, *GROUND}
    assert COURSE[number].boxes and set(COURSE[number].boxes) <= names
    picture = ElementTree.fromstring(map_of(number))
    dark = [each for each in picture if each.get("fill") == "#101f3c"]
    assert len(dark) == len(COURSE[number].boxes)
    assert all(box in description(number) for box in COURSE[number].boxes)


def test_every_box_is_some_chapters():
    told = {box for row in COURSE.values() for box in row.boxes}
    assert told | {"picture"} == {*WAY, *GROUND}


def test_the_shapes_are_the_detectors():
    model = LightHeadRCNN(num_classes=80, backbone="shufflenet_v2_x1_0", setting="S").eval()
    with nn.no_grad():
        batch = nn.Tensor(np.zeros((1, 3, 480, 640), np.float32))
        features, maps = model.backbone.features(batch), model(batch)

    def said(array):
        return " × ".join(map(str, array.shape[1:]))

    assert WAY["picture"][3] == said(batch)
    assert WAY["backbone"][3:] == (f"c4 {said(features['c4'])}", f"c5 {said(features['c5'])}")
    assert WAY["thin map"][3] == said(model.thin_map(features)["thin"])
    settings = model.settings
    count, head = settings.rpn.test_selector.post_nms, settings.head
    assert WAY["proposals"][3:] == (f"{maps.objectness.shape[1]:,} anchors", f"{count:,} boxes")
    bins = f"{head.pooled_channels} × {head.pooled_size} × {head.pooled_size}"
    assert WAY["pooling"][3] == f"{count:,} × {bins}"
    assert WAY["head"][3] == f"{count:,} × {head.hidden_channels:,}"
    assert WAY["head"][4] == f"{model.num_classes + 1} scores, 4 deltas"
    assert WAY["detections"][3] == f"at most {head.selector.max_detections}"
