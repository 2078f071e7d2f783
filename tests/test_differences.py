"""docs/differences.md names things that exist, and what it says about them is so."""

import inspect
from pathlib import Path

import numpy as np
import pytest

import detector
import nn
from nn import functional as F

PAGE = Path(__file__).parent.parent / "docs" / "differences.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]
NAMES = [row[0].strip("`") for row in ROWS]


def resolve(name: str):
    value = {"nn": nn, "detector": detector}[name.partition(".")[0]]
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_row_is_about_something_and_gives_a_reason(row):
    assert len(row) == 4 and all(row)
    assert resolve(row[0].strip("`")) is not None


def test_names_stand_once():
    assert len(ROWS) > 30 and len(set(NAMES)) == len(NAMES)


def tensor(*shape):
    return nn.Tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


def backward_twice():
    y = (tensor(3) * 2).sum()
    y.backward()
    with pytest.raises(RuntimeError):
        y.backward()


def hook_changes_nothing():
    layer = nn.ReLU()
    layer.register_forward_hook(lambda *call: nn.Tensor(7.0))
    return layer(tensor(3)).shape == (3,)


def parameter_has_an_array():
    weight = nn.Parameter(np.ones(2, np.float32))
    (weight * 2).sum().backward()
    return type(weight.grad) is np.ndarray


def refuses(error, function, *args, **options):
    with pytest.raises(error):
        function(*args, **options)
    return True


def parameters_of(function):
    return inspect.signature(function).parameters


def group_of(**group):
    weight = nn.Parameter(np.ones(2, np.float32))
    return nn.optim.Adam([{"params": [weight], **group}], lr=0.1).groups[0]


# What can be run is run. Left out: what is missing here, and reasons.
FACTS = {
    "nn.Tensor": lambda: nn.Tensor(np.ones(2, np.float16)).dtype == np.float32,
    "nn.Tensor.backward": lambda: backward_twice() is None,
    "nn.Tensor.max": lambda: isinstance(tensor(2, 3).max((0, 1)), nn.Tensor),
    "nn.Tensor.view": lambda: tensor(2, 3).T.view(6).shape == (6,),
    "nn.Parameter": parameter_has_an_array,
    "nn.Module.state_dict": lambda: type(nn.Linear(1, 1).state_dict()["bias"]) is np.ndarray,
    "nn.Module.load_state_dict": lambda: refuses(ValueError, nn.Linear(1, 1).load_state_dict, {}),
    "nn.Module.register_forward_hook": hook_changes_nothing,
    "nn.ReLU": lambda: nn.ReLU(inplace=True)(nn.Tensor([-1.0])).item() == 0,
    "nn.Conv2d": lambda: refuses(ValueError, nn.Conv2d, 1, 1, 3, padding_mode="reflect"),
    "nn.BatchNorm2d": lambda: nn.BatchNorm2d(1).freeze().frozen,
    "nn.functional.batch_norm": lambda: refuses(
        ValueError, F.batch_norm, tensor(0, 2, 3, 3), None, None, training=True
    ),
    "nn.functional.cross_entropy": lambda: (
        F.cross_entropy(tensor(0, 3), np.zeros(0, np.int64)).item() == 0
    ),
    "nn.functional.dropout": lambda: "rng" in parameters_of(F.dropout),
    "nn.functional.interpolate": lambda: refuses(
        ValueError, F.interpolate, tensor(1, 1, 2, 2), 4, mode="bicubic"
    ),
    "nn.functional.normalize": lambda: "p" not in parameters_of(F.normalize),
    "nn.functional.pad": lambda: refuses(ValueError, F.pad, tensor(2), (1, 1), "reflect"),
    "nn.functional.softmax": lambda: parameters_of(F.softmax)["dim"].default == -1,
    "nn.functional.roi_align": lambda: list(parameters_of(F.roi_align))[1] == "rois",
    "nn.functional.ps_roi_align": lambda: {"aligned", "mode"} <= set(parameters_of(F.ps_roi_align)),
    "nn.optim.MomentumSGD": lambda: parameters_of(nn.optim.MomentumSGD)["momentum"].default == 0.9,
    "nn.optim.Optimizer": lambda: group_of(lr=0.05)["lr_scale"] == 0.5,
    "nn.optim.warmup": lambda: nn.optim.warmup(10)(10) == 1.0,
    "nn.optim.clip_grad_norm": lambda: not hasattr(nn, "utils"),
    "nn.optim.RMSprop": lambda: "centered" not in parameters_of(nn.optim.RMSprop),
    "detector.AnchorGenerator": lambda: "ratios" in parameters_of(detector.AnchorGenerator),
    "detector.boxes.remove_small": lambda: (
        len(detector.boxes.remove_small(np.float32([[0, 0, 2, 2]]), 2)) == 0
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_it_is_so(name):
    assert name in NAMES
    assert FACTS[name]()
