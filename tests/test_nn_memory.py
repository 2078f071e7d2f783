"""Freed memory is there again for the next step."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from nn.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    arrays = [np.ones(2**20, np.float32) for _ in range(25)]

if not keep_freed_memory():
    raise SystemExit("not glibc")
step()
before = faults()
step()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
def test_a_second_step_needs_no_new_pages():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if "not glibc" in run.stderr:
        pytest.skip("this C library cannot be told")
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 25  # 25,600 pages of 4 KB otherwise, or 50 of 2 MB
