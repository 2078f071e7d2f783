"""Names from other programs are answered by what they are called here."""

from __future__ import annotations

import pytest
from field_cases import complaint

import lighthead
from detector.commands.synonyms import COMMANDS, OPTIONS

ALL_OPTIONS = {
    option: name for name in lighthead.COMMANDS for option in lighthead.build_parser([name])[2]
}


@pytest.mark.parametrize("word", COMMANDS)
def test_every_command_that_is_named_is_there(capsys, word):
    assert word not in lighthead.COMMANDS and COMMANDS[word] in lighthead.COMMANDS
    assert complaint(capsys, word).endswith(f"here it is called {COMMANDS[word]}\n")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_that_is_named_is_there(option):
    """Each is an option of some command, or a word, and is reached from a command."""
    for ours in OPTIONS[option]:
        assert not ours.startswith("--") or ours.partition(" ")[0] in ALL_OPTIONS


CASES = {
    "train --imgsz 640": "there is no --imgsz: here it is called --short-side (see lighthead train",
    "train --weights x.pth --data y": "here it is called --init-from",
    "train --data y --batch-size 3": "here it is called --batch",
    "train --data y --config=z": "here it is called --like",
    "train --data y --device cpu": "here it is called --threads (everything runs on the",
    "train --data y --momentum 0.8": "here it is called --set steps.momentum=...",
    "detect --conf 0.5": "here it is called --score",
    "detect --source x --weights y": "here it is called the pictures or folders, without an option",
    "evaluate --model x": "here it is called --weights",
    "evaluate --dataset x": "here it is called --data",
    "train --datta x": "there is no --datta (did you mean '--data'?)",
    "check-data --imgsz 3": "here it is called --short-side",
}


@pytest.mark.parametrize("line", CASES)
def test_what_they_are_told(capsys, line):
    with pytest.raises(SystemExit) as stop:
        lighthead.main(line.split())
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and errors.count("\n") == 1 and CASES[line] in errors


def test_beginnings_of_options_still_count(capsys):
    assert "no folder nowhere" in complaint(capsys, "check-data", "--dat", "nowhere")
