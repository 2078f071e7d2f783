"""torchvision's detectors as an oracle, also where only its Python files work."""

from __future__ import annotations

import re
import sys

import pytest


def torchvision_detection():
    """The package ``torchvision.models.detection``; skips the test where there is none.

    A torchvision of another build than PyTorch's cannot load its compiled operators, and then not
    be imported for want of their names. The oracles are plain Python and need none of them.
    """
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads would wait for work beside ours
    while True:
        try:
            import torchvision  # noqa: F401
        except ImportError:
            pytest.skip("no torchvision")
        except RuntimeError as error:
            missing = re.search("operator (torchvision::[a-z_]+) does not exist", str(error))
            if not missing:
                raise
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            torch.library.define(missing[1], "(Tensor a, Tensor b, float c) -> Tensor")
        else:
            break
    from torchvision.models import detection

    return detection
