"""PyTorch with ``torch.compile``, as a contestant; in a process of its own, since it may fail.

It needs a C++ compiler, and a minute or more for a network.
"""

from __future__ import annotations

import os
from collections.abc import Callable

# Read by the import: constants are folded into the code, as ONNX Runtime and we do.
os.environ["TORCHINDUCTOR_FREEZING"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.peers.torch_peer import NETWORKS, describe, inference, use_threads  # noqa: E402

__all__ = ["build", "describe", "use_threads"]


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    if type(case) not in NETWORKS:
        return None
    model, inputs = NETWORKS[type(case)](arrays, torch.channels_last)
    return inference(torch.compile(model), inputs)
