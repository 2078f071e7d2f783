"""torchvision's detection parts as an oracle, in Python alone.

Its compiled operators often do not load beside a PyTorch built for processors. What is written in
Python (losses, target coders, masks, the feature pyramid) needs only that their names exist.
"""

from __future__ import annotations

import importlib
import importlib.util

import pytest

_names = []  # as long as these live, the operators are known


def torchvision_part(name: str):
    """The module ``torchvision.NAME``; skips where torchvision is not installed."""
    torch = pytest.importorskip("torch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    try:
        return importlib.import_module(f"torchvision.{name}")
    except RuntimeError:  # its compiled operators are for another PyTorch
        _names.append(torch.library.Library("torchvision", "FRAGMENT"))
        for operator in ("nms", "qnms"):
            _names[0].define(f"{operator}(Tensor dets, Tensor scores, float iou) -> Tensor")
        return importlib.import_module(f"torchvision.{name}")


def torchvision_operators():
    """``torchvision.ops``; skips where its compiled operators do not load."""
    operators = torchvision_part("ops")
    if not importlib.import_module("torchvision.extension")._has_ops():
        pytest.skip("torchvision's compiled operators are for another PyTorch")
    return operators
