"""Answers that are kept: the files of ``mine/``, and the detector that they make."""

import importlib
import linecache
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import nn
from book.folders import CHAPTERS, ROOT
from detector import LightHeadRCNN, boxes
from detector.datasets import ShapesDataset
from exercises import keeping
from exercises.chapter_08 import iou, nms
from exercises.chapter_12 import learning_rate
from nn import functional as F
from teaching.student import write_student


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An empty folder ``mine``."""
    monkeypatch.setattr(keeping, "FOLDER", tmp_path / "mine")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mine"
    keeping.refresh()


class Notebook:
    """Cells that run one after the other, and have a text as those of Jupyter have."""

    def __init__(self):
        self.names, self.cells = {"__name__": "__main__"}, 0

    def name(self):
        return f"/tmp/ipykernel/{id(self)}-{self.cells}.py"

    def run(self, text):
        self.cells += 1
        name = self.name()
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), self.names)


IMPORTS = "import numpy as np\nfrom nn import functional as F\nsize = np.zeros(3)\n"
HELPER = """
SMALLEST = 0.0
table = np.zeros(3)  # a name that the answer has, too, for something else


def area(boxes):
    return np.maximum(boxes[:, 2:] - boxes[:, :2], SMALLEST).prod(axis=1)
"""
ANSWER = """
from exercises import chapter_08 as exercises


def box_iou(a, b):
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    table = np.maximum(high - low, SMALLEST).prod(axis=2)
    union = area(a)[:, None] + area(b) - table
    return table / np.where(union > 0, union, 1)


exercises.iou.check(box_iou)
"""


def test_an_answer_is_kept_with_what_it_needs(mine, capsys):
    notebook = Notebook()
    for cell in (IMPORTS, HELPER, ANSWER):
        notebook.run(cell)
    assert capsys.readouterr().out == "Right.\n(Kept as mine/iou.py.)\n"
    text = (mine / "iou.py").read_text()
    assert "import numpy as np\n\n\nSMALLEST = 0.0\n\n\ndef area(boxes):" in text
    assert "exercises" not in text and "functional" not in text and "zeros" not in text
    own = importlib.import_module("mine.iou")
    assert own.box_iou(np.float64([[0, 0, 2, 2]]), np.float64([[0, 1, 2, 3]])) == 1 / 3


def test_a_wrong_answer_leaves_no_file(mine, capsys):
    iou.check(lambda a, b: np.zeros((len(a), len(b))))
    assert "Not yet" in capsys.readouterr().out and not mine.exists()


@pytest.mark.parametrize(
    ("helper", "typed", "reason"),
    [
        (HELPER.replace("def area(boxes):\n    return", "area = lambda boxes:"), {}, "with def"),
        (HELPER.replace("0.0", "np.zeros(2)"), {}, "it uses SMALLEST, a ndarray"),
        (HELPER, {"def box_iou": "%time\ndef box_iou"}, "more than Python"),
        (HELPER, {"\n    ": "\n      ", "def box": "if True:\n  def box"}, "with def or class"),
    ],
)
def test_what_cannot_be_kept_is_said(mine, capsys, helper, typed, reason):
    notebook = Notebook()
    for cell in (IMPORTS, helper, ANSWER):
        notebook.run(cell)
    text = ANSWER  # the cell as it was typed, before IPython made it Python
    for before, after in typed.items():
        text = text.replace(before, after)
    linecache.cache[notebook.name()] = (len(text), None, text.splitlines(True), "")
    (mine / "iou.py").unlink(missing_ok=True)
    capsys.readouterr()
    iou.check(notebook.names["box_iou"])
    said = capsys.readouterr().out
    assert said.startswith("Right.\n(mine/iou.py was not written: ") and reason in said
    assert len(said.splitlines()) == 2 and not (mine / "iou.py").exists()


def test_an_answer_takes_the_place_of_the_one_that_was_filled_in(mine, capsys):
    assert ("iou", keeping.REFERENCE) in [row[:2] for row in keeping.fill()]
    notebook = Notebook()
    for cell in (IMPORTS, HELPER, ANSWER):
        notebook.run(cell)
    assert "(Kept as mine/iou.py.)" in capsys.readouterr().out
    rows = keeping.fill()
    assert ("iou", keeping.YOURS) in [row[:2] for row in rows]
    assert importlib.import_module("mine.detector").box_iou.__globals__["area"]
    # And what was filled in stands on what is yours.
    assert "from mine.iou import box_iou" in (mine / "nms.py").read_text()


@pytest.mark.parametrize("change", ["text", "head", "not even UTF-8"])
def test_a_file_that_was_changed_by_hand_stays(mine, capsys, change):
    keeping.fill()
    path = mine / "nms.py"
    by_hand = path.read_bytes()
    by_hand = {
        "text": by_hand + b"# mine, all mine\n",
        "head": by_hand.partition(b"\n")[2],
        "not even UTF-8": by_hand + b"# \xe9\n",
    }[change]
    path.write_bytes(by_hand)
    said = nms.keep(nms.reference)
    assert said == "(You have changed mine/nms.py by hand: it stays. This answer is mine/nms_2.py.)"
    assert path.read_bytes() == by_hand
    assert "def _nms" in (mine / "nms_2.py").read_text()
    assert nms.keep(nms.reference) == said and not (mine / "nms_3.py").exists()
    if change != "not even UTF-8":  # which Python would refuse
        assert ("nms", "changed by hand") in [row[:2] for row in keeping.fill()]
        assert path.read_bytes() == by_hand


def test_a_folder_that_cannot_be_written(mine):
    mine.write_text("a file in the way")
    assert nms.keep(nms.reference).startswith("(mine/nms.py was not written: ")


@pytest.mark.parametrize(("named", "found"), [("kept", "kept/mine"), ("kept/mine", "kept/mine")])
def test_another_folder(tmp_path, named, found):
    code = "from exercises import keeping; print(keeping.FOLDER)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{CHAPTERS}"}
    environment["LIGHTHEAD_MINE"] = named
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / found), done.stderr


# ------------------------------------------------------------------------------ the detector

CLASSES, SIZE = 4, 96
SHAPES = [[24, 24], [40, 40], [60, 60], [40, 20], [20, 40]]
LIBRARY = {
    "rpn": {
        "channels": 128,
        "norm": "batch",
        "init": "he",
        "outputs": 1,
        "anchors": {"shapes": SHAPES},
        "matcher": {"inside_only": False},
        "train_selector": {"pre_nms": 200, "post_nms": 48},
    },
    "thin_map": {"source": "c4", "kernel_size": 7, "norm": "batch", "init": "he"},
    "head": {"hidden_channels": 512, "hard_examples": 24, "init": "he"},
}


@pytest.fixture
def own(mine):
    """The module of the detector, all parts being the exercises' own answers."""
    assert {whose for _, whose, _ in keeping.fill()} == {keeping.REFERENCE, keeping.GIVEN}
    return keeping.module("detector")


def batch(numbers):
    pictures = ShapesDataset(64, "train", SIZE)
    images, targets = zip(*(pictures.load(int(number)) for number in numbers), strict=True)
    return np.stack(images), targets


def generator():
    return np.random.Generator(np.random.Philox(0))


def test_every_chapter_has_its_part(mine):
    chapters = {
        path.stem[-2:]
        for path in (keeping.ASSEMBLY.parents[1] / "exercises").glob("chapter_*.py")
        if re.search(r'\bkeeps="', path.read_text(encoding="utf-8"))
        or "exercises.own_" in path.read_text(encoding="utf-8")
    }
    assert chapters >= {f"{number:02}" for number in range(1, 16)}


def test_the_parts_stand_on_nothing_but_each_other_and_nn(own, mine):
    for path in mine.glob("*.py"):
        imported = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), flags=re.MULTILINE)
        assert set(imported) <= {"nn", "mine", "numpy", "math"}, path.name


def test_its_loss_is_the_librarys(own):
    nn.manual_seed(0)
    ours = own.Detector(CLASSES, SHAPES)
    theirs = LightHeadRCNN(CLASSES, "shufflenet_v2_x0_5", **LIBRARY)
    loaded = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert all(name.startswith("backbone.stage4") for name in loaded.missing_keys)
    images, targets = batch(range(4))
    found = ours.loss(images, targets, generator())
    right = theirs.loss(list(images), targets, generator())
    assert set(found) == set(right)
    for name, loss in right.items():
        assert abs(found[name].item() - loss.item()) < 1e-5, name
    sum(found.values()).backward()
    sum(right.values()).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        assert np.abs(parameter.grad - gradients[name]).max() < 1e-3, name


def test_it_trains_with_the_parts_it_has(own):
    nn.manual_seed(0)
    model, numbers = own.Detector(CLASSES, SHAPES), np.random.default_rng(0)
    step, choose = keeping.module("momentum").nesterov_step, keeping.module("choose").choose
    velocity = {name: 0.0 for name, _ in model.named_parameters()}
    losses = []
    for iteration in range(30):
        images, targets = batch(choose("pictures", iteration, 64, 4))
        loss = sum(model.loss(images, targets, numbers).values())
        model.zero_grad()
        loss.backward()
        rate = learning_rate.reference(iteration, 0.02, 5, 40)
        for name, weight in model.named_parameters():
            weight.data, velocity[name] = step(
                weight.data, velocity[name], weight.grad, np.float32(rate), 0.9
            )
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    (found,) = model.predict(batch([0])[0])
    assert set(found) == {"boxes", "scores", "labels"}


# ----------------------------------------- plausible wrong answers, unusual right ones


def unstable(boxes, scores, iou_threshold):
    return nms.reference(boxes[::-1], scores[::-1], iou_threshold)


def with_dropped(boxes, scores, iou_threshold):
    order = np.argsort(-scores, kind="stable")
    overlap = iou.reference(boxes[order], boxes[order])
    return [b for i, b in enumerate(order) if not (overlap[i, :i] > iou_threshold).any()]


def in_loops(boxes, scores, iou_threshold):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(iou.reference(boxes[[i]], boxes[[j]])[0, 0] <= iou_threshold for j in kept):
            kept.append(i)
    return kept


def signed(a, b):
    sides = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (a, b)]
    return sides.prod(2) / (areas[0][:, None] + areas[1] - sides.prod(2))


def without_ties(table, positive, negative):
    labels, matched = np.full(len(table), -1), np.zeros(len(table), int)
    if table.shape[1] == 0:
        return labels + 1, matched
    labels[table.max(1) < negative] = 0
    labels[table.max(1) >= positive] = 1
    labels[table.argmax(0)] = 1
    return labels, table.argmax(1)


def only_thresholds(table, positive, negative):
    best = table.max(1, initial=0)
    labels = np.where(best >= positive, 1, np.where(best < negative, 0, -1))
    return labels, table.argmax(1) if table.shape[1] else np.zeros(len(table), int)


def of_the_library(maps, rois, size, scale):
    return F.ps_roi_align(maps, rois, size, scale)


def in_arrays(maps, rois, size, scale):
    return F.ps_roi_align(maps, rois, size, scale).data


def largest(maps, rois, size, scale):
    return F.ps_roi_align(maps, rois, size, scale, mode="max")


def likeliest(probabilities, boxes, least_score, iou_threshold, limit):
    labels = probabilities.argmax(1)
    scores = probabilities.max(1)
    left = np.flatnonzero((labels > 0) & (scores > least_score))
    left = left[np.argsort(-scores[left])]
    kept = left[nms.reference(boxes[left], scores[left], iou_threshold)][:limit]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


def across_classes(probabilities, boxes, least_score, iou_threshold, limit):
    regions, classes = np.nonzero(probabilities[:, 1:] > least_score)
    scores = probabilities[regions, classes + 1]
    kept = nms.reference(boxes[regions], scores, iou_threshold)[:limit]
    return {"boxes": boxes[regions[kept]], "scores": scores[kept], "labels": classes[kept] + 1}


@pytest.mark.parametrize(
    ("number", "name", "answer", "reply"),
    [
        ("08", "iou", signed, "a side is at least 0"),
        (
            "08",
            "iou",
            lambda a, b: boxes.box_iou(a, b),
            "yours",
        ),
        ("08", "encode", lambda b, a, s: keeping_reference("encode")(a, b, s), "exchanged"),
        ("08", "nms", unstable, "[3, 0, 2]"),
        ("08", "nms", with_dropped, "A dropped box drops nothing"),
        ("08", "nms", in_loops, "Right."),
        ("08", "nms", lambda b, s, t: nms.reference(b, s, t).tolist(), "Right."),
        ("09", "match", only_thresholds, "its best is taken"),
        ("09", "match", without_ties, "ties are both taken"),
        ("10", "pool", of_the_library, "that is the library's"),
        ("10", "pool", in_arrays, "do not take .data"),
        ("10", "pool", largest, "not the largest"),
        ("11", "select", likeliest, "a candidate for each class"),
        ("11", "select", across_classes, "class by class"),
    ],
)
def test_the_reply_to(mine, capsys, number, name, answer, reply):
    getattr(importlib.import_module(f"exercises.chapter_{number}"), name).check(answer)
    assert reply in capsys.readouterr().out


def keeping_reference(name):
    return next(each.reference for each in keeping.keepsakes() if each.name == name)


# ------------------------------------------------------------ chapters that a teacher hands out

IN_A_NOTEBOOK = """
from exercises import keeping
rows = keeping.fill()
own = keeping.module("detector")
own.Detector(2, [[16, 16]])
print({whose for _, whose, _ in rows})
"""


def test_handed_out_chapters_fill_in_without_showing_an_answer(mine, tmp_path):
    keeping.fill()  # the teacher's own, in the folder that is copied
    ignore = shutil.ignore_patterns("*.jpg", "*.ipynb", "__pycache__")
    chapters = shutil.copytree(CHAPTERS, tmp_path / "chapters", ignore=ignore)
    shutil.copytree(mine, chapters / "mine", dirs_exist_ok=True)
    write_student(chapters, tmp_path / "student", with_notebooks=False)
    handed_out = tmp_path / "student"
    assert [path.name for path in (handed_out / "mine").iterdir()] == ["README.md"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["LIGHTHEAD_MINE"]
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_NOTEBOOK],
        cwd=handed_out, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    texts = [path.read_text(encoding="utf-8") for path in handed_out.rglob("*.py")]
    assert not any("def _nms" in text or "argsort(-scores" in text for text in texts)
