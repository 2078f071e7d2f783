"""Every experiment of the table: what it compares is there, and it goes from its command to its
table, whatever stops it on the way."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from field_cases import complaint, run

import nn
from detector.datasets import write_shapes
from detector.detectors import DETECTORS
from detector.experiments import EXPERIMENTS, costs
from detector.experiments.costs import Cost, cost_of_backbone, cost_of_detector
from detector.experiments.experiment import Experiment, Row, recipe_of
from detector.experiments.report import (
    Findings,
    as_markdown,
    comparisons,
    draw,
    rank_correlation,
    table,
)
from detector.training import trainer
from detector.training.objectives.detection import Detection
from nn.models import NETWORKS

ROWS = [
    pytest.param(row, id=f"{name}, {row.name}")
    for name in EXPERIMENTS
    for row in EXPERIMENTS[name].rows
]

# The thesis's table 4.2 and, of v2*, lecture 002's slide (batches of four): frames a second, mmAP.
THESIS = {
    "xception-like": (95, 31.5),
    "shufflenet-v1": (76, 29.9),
    "mobilenet-v2": (94, 30.0),
    "shufflenet-v2": (109, 31.8),
    "shufflenet-v2-star": (4 * 21.3, 33.0),
    "yolo-v2": (40, 21.6),
    "ssd-300-vgg": (58, 25.1),
    "ssd-300-resnet": (16, 28.0),
    "ssd-500-resnet": (8, 31.2),
    "dssd-300": (8, 28.0),
    "dssd-500": (6, 33.2),
    "r-fcn": (11, 29.9),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_what_there_is(row):
    assert row.detector in DETECTORS and row.backbone in NETWORKS
    recipe = recipe_of(row, "tiny", 7)
    assert recipe.detector == row.detector
    assert recipe.model.backbone == (row.learner or row.backbone) in NETWORKS
    steps = recipe.steps.fitted(batches_per_epoch=3)
    assert steps.iterations(3) == 7 and steps.epochs == steps.evaluate_every == 3
    assert recipe.crops.iterations in (0, 21)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_names_are_folders_and_there_once(name):
    names = [row.name for row in EXPERIMENTS[name].rows]
    assert len(set(names)) == len(names)
    assert all(row_name.replace("-", "").isalnum() for row_name in names)


def test_the_thesis_figures_are_the_thesis():
    rows = EXPERIMENTS["table-4.2"].rows
    found = {row.name: (row.fps, row.mmap) for row in rows}
    assert set(found) == set(THESIS)
    for name, figures in THESIS.items():
        assert found[name] == pytest.approx(figures, abs=0.5)


@pytest.mark.parametrize("row", EXPERIMENTS["equal-budgets"].rows, ids=lambda row: row.name)
def test_equal_budgets_are_equal(row):
    assert 140e6 < cost_of_backbone(row).multiply_adds < 150e6


def test_the_cost_of_a_detector_is_that_of_its_parts():
    """ShuffleNet v2 1x at 64 x 96 with 80 classes, layer by layer."""
    row = Row("x", "x", "x", "shufflenet_v2_x1_0", size=(64, 90))
    with nn.init.skipped():
        backbone = NETWORKS["shufflenet_v2_x1_0"](num_classes=None)
        model = row.build()
    backbone.forward = lambda images: backbone.features(images)["c5"]
    trunk = nn.summary(backbone, (1, 3, 64, 96))
    c4, c5, thin = 4 * 6, 2 * 3, 490  # cells; channels that 7 x 7 regions are cut from
    rpn = c4 * (232 * 256 * 9 + 256 * 15 * (2 + 4))
    thin_map = 2 * c5 * 15 * (464 * 64 + 64 * thin)  # columns and rows, each in two orders
    head = 1000 * (thin * 2048 + 2048 * (81 + 4))
    expected = trunk.multiply_adds + rpn + thin_map + head
    cost = cost_of_detector(row)
    assert cost.multiply_adds == expected
    assert cost.parameters == sum(p.data.size for p in model.parameters())


# The table


@pytest.mark.parametrize(
    "one, other, expected",
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [1, 3, 2, 5, 4], 1 - 6 * 4 / (5 * 24)),  # 1 - 6 sum d^2 / n (n^2 - 1)
        ([1, 1, 2], [1, 2, 3], 1.5 / 3**0.5),  # ranks 0.5 0.5 2 and 0 1 2: 1.5 / sqrt(1.5 * 2)
    ],
)
def test_rank_correlation(one, other, expected):
    assert rank_correlation(one, other) == pytest.approx(expected)


def findings() -> Findings:
    rows = (
        Row("a", "A", "one", "x", fps=95, mmap=31.5),
        Row("b", "A", "two", "x", fps=76, mmap=29.9),
        Row("c", "B", "three", "x", size=(300, 300), fps=109),
        Row("d", "B", "four", "x"),
    )
    figures = {"a": {"AP": [10.0, 12.0], "AP50": [40.0, 41.0]}, "b": {"AP": [9.0], "AP50": [0.0]}}
    figures |= {name: {"AP": [], "AP50": []} for name in "cd"}
    seconds = {"a": 0.5, "b": 0.25, "c": 0.125, "d": 1.0}
    experiment = Experiment("title", rows, True, 10, "thesis")
    return Findings(experiment, {name: Cost(1000, 2000) for name in "abcd"}, seconds, figures)


def test_the_table():
    lines = as_markdown(table(findings())).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(set(map(len, lines))) == 1
    assert cells[0][2:] == [
        "parameters", "multiply-adds", "test size", "frames/s", "thesis frames/s", "AP", "AP50",
        "thesis mmAP",
    ]  # fmt: skip
    assert cells[2] == [
        "A", "one", "1,000", "2,000", "800x1200", "2.00", "95", "11.0 ± 1.4", "40.5 ± 0.7", "31.5"
    ]  # fmt: skip
    assert cells[3][5:] == ["4.00", "76", "9.0", "0.0", "29.9"]
    assert cells[5][4:] == ["800x1200", "1.00", "-", "-", "-", "-"]
    # Of three speeds two pairs stand as published; of two precisions nothing is said.
    (line,) = comparisons(findings())
    assert "frames a second" in line and "+0.50 (3 rows" in line


def test_the_picture_shows_speeds_if_there_are_any():
    whole = findings()
    alone = replace(whole, experiment=replace(whole.experiment, is_timed=False), seconds={})
    assert draw(whole).shape[1] == 2 * draw(alone).shape[1]


# The command


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Two rows of small networks, and eight pictures of shapes; the options that use them."""
    rows = (
        Row("one", "A", "1", "shufflenet_v2_x0_5", size=(64, 96), fps=2, mmap=3),
        Row("two", "A", "2", "mobilenet_v1_x0_25", size=(64, 96)),
    )
    experiment = Experiment("title", rows, True, 1, "thesis")
    monkeypatch.setitem(
        EXPERIMENTS._rows, "small", ("test_every_experiment:EXPERIMENTS_OF_TESTS", "")
    )
    monkeypatch.setitem(globals(), "EXPERIMENTS_OF_TESTS", experiment)
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    write_shapes(tmp_path / "data", train=8, val=2, image_size=64)
    data = ["--data", tmp_path / "data", "--preset", "tiny", "--out", tmp_path / "out"]
    return ["experiment", "small", *map(str, data), "--iterations", "2"]


def test_from_the_command_to_the_table(capsys, tmp_path, small):
    out = tmp_path / "out"
    code, text, _ = run(capsys, *small, "--speed-only")
    assert code == 0 and "frames/s" in text and not (out / "plan.json").exists()
    speed = json.loads((out / "speed.json").read_text())
    assert set(speed["seconds"]) == {"one", "two"}

    code, text, _ = run(capsys, *small, "--seeds", "0")
    assert code == 0 and "2 of 2: two, seed 0: AP" in text
    assert json.loads((out / "speed.json").read_text()) == speed
    first = (out / "one" / "seed-0" / "last.ckpt").read_bytes()
    assert (out / "two" / "seed-0" / "report.html").exists()

    code, text, _ = run(capsys, *small, "--seeds", "0,1")  # what is there stays
    assert code == 0 and "seed 0: AP" not in text and "4 of 4: two, seed 1: AP" in text
    assert (out / "one" / "seed-0" / "last.ckpt").read_bytes() == first
    lines = list(csv.reader(io.StringIO((out / "table.csv").read_text("utf-8-sig"))))
    assert lines[0][0] == "model (lighthead)" and [line[1] for line in lines[1:]] == ["1", "2"]
    figures = [
        100 * json.loads((out / "one" / f"seed-{seed}" / "evaluation.json").read_text())
        ["figures"]["AP50"] for seed in (0, 1)
    ]  # fmt: skip
    assert lines[1][8].startswith(f"{sum(figures) / 2:.1f} ± ")
    page = (out / "table.md").read_text(encoding="utf-8")
    assert "2 iterations, lessons on crops before them 3 times as long" in page
    assert "seeds 0, 1: mean" in page
    assert (out / "table.png").read_bytes().startswith(b"\x89PNG")


class Killed(BaseException):
    """As when the power fails."""


def test_killed_it_goes_on_to_the_same_bits(capsys, tmp_path, small):
    whole = [word.replace("/out", "/whole") for word in small]
    assert run(capsys, *whole, "--seeds", "0")[0] == 0
    loss, done = Detection.loss, []

    def dying(self, *batch):
        if len(done) == 3:  # in the second row's second step
            raise Killed
        done.append(None)
        return loss(self, *batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Detection, "loss", dying)
        patch.setattr(trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        run(capsys, *small, "--seeds", "0")
    assert run(capsys, *small, "--seeds", "0")[0] == 0
    for row in ("one", "two"):
        one, other = (tmp_path / name / row / "seed-0" / "best.ckpt" for name in ("whole", "out"))
        assert one.read_bytes() == other.read_bytes()


def test_mistakes_are_one_line(capsys, tmp_path, small):
    assert "--iterations must be at least 1" in complaint(capsys, *small[:-1], "0")
    assert "--seeds takes different whole numbers" in complaint(capsys, *small, "--seeds", "1,1")
    assert "no preset 'tinny'" in complaint(capsys, *small, "--preset", "tinny")
    assert "no folder" in complaint(capsys, *small, "--data", str(tmp_path / "nowhere"))
    assert "seed must be at most" in complaint(capsys, *small, "--seeds", str(2**64))
    assert "iterations must be at most" in complaint(capsys, *small[:-1], str(10**13))
    line = complaint(capsys, *small, "--preset", "ssd-tiny")
    assert "the preset ssd-tiny is for ssd" in line
    line = complaint(capsys, "experiment", "equal-budgets", "--speed-only")
    assert "equal-budgets times nothing" in line
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "table.md").write_text("mine")
    assert "not empty" in complaint(capsys, *small, "--out", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "table.md").read_text() == "mine"
    assert run(capsys, *small, "--seeds", "0")[0] == 0
    page = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    for more in (["--seeds", "0"], ["--speed-only"]):
        line = complaint(capsys, *small[:-1], "3", *more)
        assert "begun with iterations 2, not 3" in line
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == page
    figures = tmp_path / "out" / "one" / "seed-0" / "evaluation.json"
    whole = figures.read_bytes()
    for damaged in ("{", "[]", '{"figures": {"AP": "x", "AP50": 0}}'):
        figures.write_text(damaged)
        assert f"{figures} is damaged" in complaint(capsys, *small, "--seeds", "0")
    figures.unlink()
    assert run(capsys, *small, "--seeds", "0")[0] == 0 and figures.read_bytes() == whole
    (tmp_path / "out" / "speed.json").write_text('{"seconds": {"one": "x"}}')
    assert "speed.json is damaged" in complaint(capsys, *small, "--seeds", "0")
