"""Names from other programs are answered by what they are called here."""

from __future__ import annotations

import operator
import re
from pathlib import Path

import pytest
from field_cases import complaint

import lighthead
from detector.commands.synonyms import COMMANDS, HOMES, NOT_HERE, OPTIONS
from detector.training.presets import preset

PAGE = Path(__file__).parent.parent / "docs" / "other-names.md"
KNOWN = {name: lighthead.build_parser([name])[2] for name in lighthead.COMMANDS}
EVERY = {option for known in KNOWN.values() for option in known}


def assert_there(ours: str) -> None:
    """An option that a command has; the number that a --set changes is in a recipe."""
    option, _, path = ours.partition(" ")
    assert option in KNOWN[HOMES.get(option, "train")], ours
    if option == "--set" and path:
        recipe, path = preset("laptop"), path.partition("=")[0]
        place = recipe if hasattr(recipe, path.partition(".")[0]) else recipe.model
        operator.attrgetter(path)(place)


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_that_is_named_is_there(capsys, word):
    assert word not in lighthead.COMMANDS and COMMANDS[word] in lighthead.COMMANDS
    assert complaint(capsys, word).endswith(f"here it is called {COMMANDS[word]}\n")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_that_is_named_is_there(capsys, option):
    for ours in OPTIONS[option]:
        assert_there(ours)
    if option in KNOWN["train"]:
        return
    line = complaint(capsys, "train", "--data", "x", option, "3")
    said = re.search(f"there is no {option}: here it is called (.*) \\(see lighthead", line)[1]
    named, _, of = said.partition(", an option of lighthead ")
    assert named in OPTIONS[option] and named.partition(" ")[0] in KNOWN[of or "train"]


@pytest.mark.parametrize("option", NOT_HERE)
def test_everything_that_is_said_instead_is_there(capsys, option):
    """Every option, path and command in the sentence."""
    assert option not in EVERY and option not in OPTIONS
    for named in re.findall(r"--set \S+|--[a-z-]+", NOT_HERE[option]):
        assert_there(named)
    for command in re.findall(r"(?:the command|lighthead) ([a-z-]+)", NOT_HERE[option]):
        assert command in lighthead.COMMANDS
    line = complaint(capsys, "train", "--data", "x", option)
    assert f"there is no {option}: {NOT_HERE[option]}" in line


def test_the_page_lists_them_all():
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    said = [(there.strip("`"), re.findall("`([^`]+)`", here) or [here]) for there, here in rows]
    expected = [(there, [here]) for there, here in COMMANDS.items()]
    expected += [(there, list(here)) for there, here in OPTIONS.items()]
    expected += [(there, [here]) for there, here in NOT_HERE.items()]
    assert said == expected


CASES = {
    "train --imgsz 640": "there is no --imgsz: here it is called --short-side (see lighthead train",
    "train --weights x.pth --data y": "here it is called --init-from (see",
    "train --data y --batch-size 3": "here it is called --batch (see",
    "train --data y --batch_size 3": "there is no --batch_size: here it is called --batch (see",
    "train --data y --short_side 3": "there is no --short_side: here it is called --short-side",
    "train --data y --config=z": "here it is called --like (see",
    "train --data y --device cpu": "there is no --device: here it is called --threads (see",
    "train --data y --momentum 0.8": "here it is called --set steps.momentum=...",
    "train --data y --conf 0.5": "here it is called --score, an option of lighthead detect (see",
    "train data=y imgsz=640": "options begin with two dashes here: --data y",
    "train --data y imgsz=640": "there is no imgsz=: here it is called --short-side",
    "train --data y optimizer=Adam": "there is no optimizer=: it is SGD with momentum",
    "detect --weights x width=3": "there is no checkpoint x",
    "detect --conf 0.5": "here it is called --score",
    "detect --source x --weights y": "pictures and folders are named without one",
    "detect x.jpg --weights y --imgsz 640": "--short-side, an option of lighthead train (see",
    "evaluate --model x": "here it is called --weights",
    "evaluate --dataset x": "here it is called --data (see",
    "train --datta x": "there is no --datta (did you mean '--data'?)",
    "check-data --imgsz 3": "here it is called --short-side",
}


@pytest.mark.parametrize("line", CASES)
def test_what_they_are_told(capsys, line):
    assert CASES[line] in complaint(capsys, *line.split())


def test_beginnings_of_options_still_count(capsys):
    assert "no folder nowhere" in complaint(capsys, "check-data", "--dat", "nowhere")


def test_files_and_values_may_look_like_options(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("name=x.jpg").write_bytes(b"")
    line = complaint(capsys, "detect", "--weights", "nowhere", "name=x.jpg")
    assert "nowhere" in line and "name=" not in line
    line = complaint(capsys, "train", "--data", "nowhere", "--set", "scale=3", "--out", "name=1")
    assert "name=" not in line and "scale" in line
