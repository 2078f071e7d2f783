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


NETWORK = """
import resource
import sys
import numpy as np
import nn

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

name, how = sys.argv[1:]
images = np.zeros((1, 3, 224, 224), np.float32)
kernels = nn.models.squeezenet1_0().eval()
with nn.no_grad():
    kernels(nn.Tensor(images))
nn.inference.compile(kernels, images.shape)(images)
before = peak()
model = nn.models.NETWORKS[name]().eval()
if how == "plain":
    with nn.no_grad():
        model(nn.Tensor(images))
else:
    nn.inference.compile(model, images.shape)(images)
weights = sum(array.nbytes for array in model.state_dict().values())
print((peak() - before) / weights)
"""


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
@pytest.mark.parametrize(
    "name, how, most",
    [
        ("vgg16", "plain", 2.0),
        ("senet154", "plain", 2.0),
        # The model, and its weights in another order; SENet's batch norms multiply them first.
        ("vgg16", "compiled", 2.5),
        ("senet154", "compiled", 3.25),
    ],
)
def test_building_and_running_a_large_network(name, how, most):
    """In sizes of its weights."""
    run = subprocess.run(
        [sys.executable, "-c", NETWORK, name, how], capture_output=True, text=True, check=True
    )
    assert 0.9 < float(run.stdout) < most
