"""The example in the README runs, learns, and shows what it says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_two_tasks_that_share_one_layer():
    done = subprocess.run(
        [sys.executable, "examples/two_tasks.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in lines[:2]:
        before, after = (float(number) for number in line.split("loss ")[1].split(" -> "))
        assert after < before / 20
    assert "shared.weight" in lines[2] and lines[2].count(".weight") == 3
    assert lines[3].split()[0] == lines[4].split()[0]
