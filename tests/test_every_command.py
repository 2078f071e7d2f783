"""Every command of the table meets every check: its manual, its examples, what it imports.

A new row without a mistake here fails.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from field_cases import complaint, run

import lighthead
import nn

ROOT = Path(__file__).parent.parent

# A mistake that each makes a reader of its options alone, and what it is told.
MISTAKES = {
    "demo": ("demo --threads 0", "0 is not between 1 and"),
    "train": ("train", "--data is missing"),
    "evaluate": ("evaluate --data shapes", "required: --weights"),
    "detect": ("detect x.jpg", "required: --weights"),
    "dissect": ("dissect x.jpg --weights y --score 2", "between 0 and 1, not 2"),
    "export": ("export --weights x --to onx", "did you mean 'onnx'"),
    "summary": ("summary --backbone resnet", "did you mean 'resnet50'"),
    "classify": ("classify x.jpg", "required: --weights"),
    "networks": ("networks resnet", "did you mean 'resnet50'"),
    "check-data": ("check-data --data nowhere", "no folder nowhere"),
    "doctor": ("doctor --data shapes --pictures 9", "from 1 to 8, not 9"),
    "experiment": ("experiment table-4.3", "did you mean 'table-4.2'"),
    "bench": ("bench trainig", "did you mean 'training'"),
    "grade": ("grade nowhere.ipynb", "there is no notebook nowhere.ipynb"),
    "serve": ("serve --tasks 0", "at least 1"),
    "site": ("site detection --server 127.0.0.1 --data shapes", "not an address like"),
    "multitask": ("multitask joint --data shapes --seeds 0,1 --out x", "one seed"),
}

# What help and mistyped options need not wait for.
HEAVY = {"torch", "onnxruntime", "ray", "matplotlib", "pycocotools"}

LOOK = """
import json, sys
import lighthead
before = sorted(sys.modules)
try:
    lighthead.main(sys.argv[1:])
except SystemExit:
    pass
print(json.dumps([before, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.fixture(params=list(lighthead.COMMANDS))
def command(request):
    return request.param


def imported(*arguments) -> tuple[set[str], set[str]]:
    """All modules after ``import lighthead``, and after a command."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    before, after = json.loads(done.stderr)
    return set(before), set(after)


def test_every_row_has_a_mistake():
    assert set(MISTAKES) == set(lighthead.COMMANDS)


def test_help_is_a_manual(capsys, command):
    code, text, _ = run(capsys, command, "--help")
    assert code == 0
    assert f"usage: lighthead {command}" in text and "examples:" in text
    assert text.count(f"lighthead {command}") >= 2
    assert max(map(len, text.splitlines())) <= 110
    assert lighthead.COMMANDS[command].__doc__.strip() in text


def test_help_of_the_whole_lists_the_commands(capsys):
    code, text, _ = run(capsys, "--help")
    words = " ".join(text.split())
    assert code == 0
    for command in lighthead.COMMANDS:
        assert f"{command} {lighthead.COMMANDS.line(command)}" in words


def test_examples_are_understood(monkeypatch, command):
    """Every one of the manual, as on a machine with many processors."""
    monkeypatch.setattr(nn, "get_num_threads", lambda: 64)
    monkeypatch.setattr(nn, "set_num_threads", lambda count: None)
    parser = argparse.ArgumentParser(prog=command, exit_on_error=False)
    lighthead.COMMANDS[command].add_arguments(parser)
    manual = lighthead.COMMANDS[command].EXAMPLES.replace("\\\n", " ")
    examples = re.findall(rf"^  lighthead {command}\b(.*)$", manual, re.MULTILINE)
    assert examples
    for example in examples:
        parser.parse_args(shlex.split(example, comments=True))


def test_it_imports_itself_alone(command):
    before, after = imported(command, "--help")
    modules = {name: lighthead.COMMANDS._rows[name][0] for name in lighthead.COMMANDS}
    assert not set(modules.values()) & before
    assert modules[command] in after
    # The commands of multitask and the doctor take the options of train.
    others = set(modules.values()) - {modules[command], modules["train"]}
    assert not (others | HEAVY) & after


def test_a_misspelt_command_is_told_the_nearest(capsys, command):
    line = complaint(capsys, command[1] + command[0] + command[2:])
    assert f"did you mean {command!r}" in line and all(name in line for name in lighthead.COMMANDS)


def test_an_unknown_option_is_one_line(capsys, command):
    words = MISTAKES[command][0].split()
    line = complaint(capsys, *words, "--no-such-option")
    assert f"lighthead {command} --help" in line or "lighthead --help" in line


def test_a_mistake_is_one_line(capsys, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    arguments, words = MISTAKES[command]
    assert words in complaint(capsys, *arguments.split())
    assert not list(tmp_path.iterdir())
