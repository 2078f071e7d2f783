"""Commands run in this process, and small inputs that people's tools wrote and that once failed.

The inputs lie outside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lighthead

QUICK = ["--preset", "tiny", "--short-side", "64", "--batch", "2", "--epochs", "1"]
QUICK += ["--crop-iterations", "1"]


def field_case(name: str) -> Path:
    """The folder of a case; skips the test, saying so, where it is absent."""
    root = os.environ.get("LIGHTHEAD_CASES") or Path(__file__).parents[2] / "shared" / "cases"
    folder = Path(root, name)
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set LIGHTHEAD_CASES to the folder that holds {name}")
    return folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    try:
        code = lighthead.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def complaint(capsys, *arguments) -> str:
    """The one line that a mistake gets."""
    code, _, errors = run(capsys, *arguments)
    assert code == 2
    assert errors.startswith("lighthead: ") and errors.count("\n") == 1, errors
    return errors


def check_data(capsys, folder, *arguments) -> str:
    """What ``check-data`` says about a folder that it finds in order."""
    code, text, errors = run(capsys, "check-data", "--data", folder, "--no-timing", *arguments)
    assert code == 0, errors
    return text
