"""Every objective of the table meets every check: a run of its own from the command line.

A new row without data, options and losses here fails.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from small_runs import assert_same_end, train, train_and_die
from test_detector_classification import write_classes
from test_detector_cli import TINY

from detector.datasets import write_shapes
from detector.errors import UserError
from detector.settings import Settings
from detector.training import checkpoints
from detector.training.objectives import OBJECTIVES
from detector.training.objectives.objective import Objective
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, read_session


class Small(NamedTuple):
    """A run of a second or two.

    Attributes:
        write: makes the data in a folder.
        options: of ``lighthead train``: two epochs of two batches.
        losses: the columns that its losses get.
    """

    write: Callable[[Path], object]
    options: list[str]
    losses: list[str]


SMALL = {
    "detection": Small(
        lambda folder: write_shapes(folder, train=8, val=2, image_size=64),
        [*TINY, "--evaluate-every", "1"],
        ["rpn_objectness", "rpn_box", "head_class", "head_box"],
    ),
    "classification": Small(
        lambda folder: write_classes(folder, 5),
        ["--epochs", "2", "--batch", "5", "--short-side", "32"],
        ["cross_entropy"],
    ),
}


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def task(request):
    return request.param


@pytest.fixture(scope="module")
def options(task, tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / task
    SMALL[task].write(data)
    return ["--task", task, "--data", data, *SMALL[task].options]


@pytest.fixture(scope="module")
def whole(options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(*options, "--out", folder)
    return folder


def test_every_row_has_a_run():
    assert set(SMALL) == set(OBJECTIVES)


def test_a_row_is_an_objective_with_a_recipe(task):
    objective = OBJECTIVES[task]
    assert issubclass(objective, Objective) and objective.task == task
    assert objective.best in objective.figures
    recipe = objective.Recipe()
    assert isinstance(recipe, Settings)
    assert {"epochs", "batch", "lr", "short_side"} <= set(recipe.options)
    for path in recipe.options.values():
        part = recipe
        for name in path.split("."):
            part = getattr(part, name)
    for session in (Session().updated({"task": task}), Session(task=task, recipe=recipe)):
        assert Session.from_dict(json.loads(json.dumps(session.as_dict()))) == session


def test_the_folder_tells_what_happened(task, whole):
    session, run = read_session(RunFolder(whole)), RunFolder(whole)
    assert session.task == task and session.recipe.steps.epochs == 2
    objective = session.objective()
    with open(run.metrics, newline="") as file:
        rows = list(csv.DictReader(file))
    figures = [f"val_{name}" for name in objective.figures]
    assert list(rows[0]) == [
        "epoch", "iteration", "seconds", "lr", "loss", *SMALL[task].losses, "grad_norm", *figures
    ]  # fmt: skip
    steps = [row for row in rows if row["loss"]]
    measured = [row for row in rows if not row["loss"]]
    assert [int(row["iteration"]) for row in steps] == list(range(1, 2 * len(objective) + 1))
    assert [int(row["epoch"]) for row in measured] == [1, 2]
    for row in steps:
        total = sum(float(row[name]) for name in SMALL[task].losses)
        assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    assert all(0 <= float(row[name]) <= 1 for row in measured for name in figures)
    results = json.loads(run.evaluation.read_text())["figures"]
    assert set(objective.figures.values()) <= set(results)
    assert {path.name for path in (run.best, run.last, run.curves)} <= {
        path.name for path in whole.iterdir()
    }


def test_batches_begin_anywhere_and_have_names(task, whole):
    objective = read_session(RunFolder(whole)).objective()
    all_names = [objective.name(batch) for batch in objective.batches(1)]
    assert len(all_names) == len(objective) > 1
    assert [objective.name(batch) for batch in objective.batches(1, first=1)] == all_names[1:]
    assert [objective.name(batch) for batch in objective.batches(0)] != all_names
    assert all(".png" in name for name in all_names)
    assert all(isinstance(line, str) for line in objective.announce())


def test_a_run_that_died_ends_in_the_same_bits(task, options, whole, tmp_path):
    train_and_die(task, 3, *options, "--out", tmp_path / "dead")
    train("--resume", "--out", tmp_path / "dead")
    assert_same_end(whole, tmp_path / "dead")


def test_a_checkpoint_says_its_task(task, whole):
    assert checkpoints.read(whole / "best.ckpt", task)["task"] == task
    for other in set(OBJECTIVES) - {task}:
        with pytest.raises(UserError, match=f"best.ckpt is of the task {task}, not of {other}$"):
            checkpoints.read(whole / "best.ckpt", other)


def test_misspelt_tasks_are_told_the_nearest(task):
    with pytest.raises(ValueError, match=f"no task .*did you mean '{task}'"):
        Session().updated({"task": task[:-1]})
