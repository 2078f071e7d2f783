"""Megvii's ShuffleNet v2 (the authors' own): its names, and its order of channels.

Its names are like ``stage2.0.branch_main.0``, and it puts the shuffle elsewhere. After the two
branches it only concatenates. The next block splits by parity instead: its even channels pass, its
odd channels go through the branch. So both networks let half of the channels pass at every block,
but they number them differently, and weights have to be re-ordered before they fit. What follows
is the order.

*Where a passing channel goes.* Let a map have C channels.

- Ours: channel i passes if i < C/2 (the left half), and the shuffle then moves it to 2i.
- Megvii's: channel r passes if r is even, and concatenation moves it to r/2.

So a channel's number doubles in our network for as long as it passes, up to at least C/2; in
Megvii's it halves, until it is odd. Hence the numbers below C form doubling chains, each from an
odd number m: ``m, 2m, 4m, ..., 2^L m`` (and 0 alone, which always passes). A channel climbs such
a chain in ours and descends it in theirs. *Turn every chain around and the two agree*::

    P(2^s m) = 2^(L - s) m        P(0) = 0

is the Megvii channel that our channel 2^s m corresponds to. For C = 8 the chains are (1 2 4),
(3 6), (5), (7), and P = 0 4 2 6 1 5 3 7. Check it:

- our channel passes (i < C/2, not the end of its chain) if and only if P(i) is not the beginning
  of the chain, that is, even: theirs passes too. Afterwards they are at 2i and P(i)/2 = P(2i);
- an odd number of ours comes out of the branch just now; P makes it the end of its chain, a
  number of at least C/2: that is where concatenation puts the branch's output.

So P is right after every block of a stage, if it is right after the first; and there, like
everywhere, we choose in which order the rows of a 1x1 convolution (its output channels) stand.
The columns (its input channels) then follow the order of the map they read.
"""

from __future__ import annotations

import re

import numpy as np

from nn.models.network import Dialect, Preprocessing
from nn.weights import WeightsError

BLOCK = re.compile(r"(stage[234])\.(\d+)\.branch_(main|proj)\.(\d)\.(\w+)")


class Megvii(Dialect):
    """The names and the order of the authors' own files."""

    name = "megvii"
    # Trained on BGR in 0..1 as it is; the BGR is carried into the weights.
    preprocessing = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def knows(self, name: str) -> bool:
        return BLOCK.fullmatch(name) is not None

    def translate(self, path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        orders = _orders(path, tensors)
        ours = {}
        for name, array in tensors.items():
            block = BLOCK.fullmatch(name)
            if block:
                ours_name, rows, columns = _place(orders, *block.groups())
            elif name.startswith("first_conv."):
                ours_name, rows, columns = name.replace("first_conv", "conv1"), None, None
                if name == "first_conv.0.weight":
                    columns = np.array([2, 1, 0])  # BGR to RGB
            else:
                ours_name, rows, columns = name, None, None
            for axis, order in enumerate((rows, columns)):
                if order is not None and array.ndim > 0:
                    if array.ndim <= axis or array.shape[axis] != len(order):
                        raise WeightsError(
                            path, f"{name} has shape {array.shape}, {len(order)} channels expected"
                        )
                    array = np.ascontiguousarray(array.take(order, axis))
            ours[ours_name] = array
        return ours


def megvii_order(channels: int) -> np.ndarray:
    """P of this file's docstring, (channels,) int: which Megvii channel each of ours is.

    It is its own inverse, so ``ours[:, P]`` is in Megvii's order, too.
    """
    order = np.zeros(channels, np.int64)
    for odd in range(1, channels, 2):
        chain = [odd]
        while 2 * chain[-1] < channels:
            chain.append(2 * chain[-1])
        order[chain] = chain[::-1]
    return order


def _orders(path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``megvii_order`` for the output of each stage."""
    orders = {"stage1": np.arange(24)}  # the stem's output is not shuffled
    for stage in ("stage2", "stage3", "stage4"):
        rows = [
            np.shape(tensors.get(f"{stage}.0.branch_{branch}.weight"))[:1]
            for branch in ("proj.2", "main.5")
        ]
        if rows[0] != rows[1] or not rows[0]:
            raise WeightsError(
                path,
                f"the two branches of {stage}.0 make {rows[0]} and {rows[1]} channels; weights of "
                "this dialect can be re-ordered only where both make half",
            )
        orders[stage] = megvii_order(2 * rows[0][0])
    return orders


def _place(
    orders: dict[str, np.ndarray], stage: str, block: str, branch: str, layer: str, kind: str
) -> tuple[str, np.ndarray | None, np.ndarray | None]:
    """Our name of one of Megvii's tensors, and the order of its rows and columns (None: as is)."""
    before = orders[f"stage{int(stage[-1]) - 1}"]
    after = orders[stage]
    half = len(after) // 2
    # What a branch reads and writes, as positions in Megvii's branch. Our branch writes every
    # second channel; the branch of a block of stride 1 reads our right half, Megvii's odd channels.
    reads = before if block == "0" else after[half:] // 2
    writes = after[1::2] - half if branch == "main" else after[0::2]
    if branch == "main":
        first, last = layer == "0", layer in ("5", "6")
        rows = writes if last else None
        columns = reads if first else None
        name = f"{stage}.{block}.branch2.{layer}.{kind}"
    else:
        first, last = layer in ("0", "1"), layer in ("2", "3")
        rows = writes if last else reads if first else None
        columns = reads if layer == "2" and kind == "weight" else None
        name = f"{stage}.{block}.branch1.{layer}.{kind}"
    return name, rows, columns
