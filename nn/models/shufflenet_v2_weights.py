"""Loads published ShuffleNet v2 weights into our network, whichever of two dialects they are in.

**torchvision's** files have our names and our order of channels; they load as they are.

**Megvii's** network (the authors' own, names like ``stage2.0.branch_main.0``) puts the shuffle
elsewhere. After the two branches it only concatenates. The next block splits by parity instead:
its even channels pass, its odd channels go through the branch. So both networks let half of the
channels pass at every block, but they number them differently, and weights have to be re-ordered
before they fit. What follows is the order.

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

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nn.models.network import IMAGENET, Network, Preprocessing
from nn.module import Module
from nn.weights import WeightsError, read_weights

# Megvii's backbone was trained on BGR in 0..1 as it is; the BGR is carried into the weights.
MEGVII = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

MEGVII_BLOCK = re.compile(r"(stage[234])\.(\d+)\.branch_(main|proj)\.(\d)\.(\w+)")
LAYER = re.compile(r"(?:^|\.)((?:first_conv|conv1|stage[234]|conv5|fc)\..*)")
COUNTER = "num_batches_tracked"  # how many batches a batch norm has seen; of no effect on features


@dataclass
class LoadReport:
    """What ``load_weights`` did, by tensor name. Counters of batch norms are not counted.

    Attributes:
        path: the file.
        dialect: "torchvision" or "megvii".
        loaded: tensors of the model that now hold the file's values.
        missing: tensors of the model that the file does not have; they keep their values.
        unexpected: tensors of the file that the model has no place for.
        mismatched: (name, shape in the file, shape in the model) of a classifier for other classes;
            it keeps its values.
        preprocessing: how these weights want their images.
    """

    path: str
    dialect: str
    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    preprocessing: Preprocessing

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.mismatched)
        text = f"loaded {len(self.loaded)} of {total} tensors from {self.path} ({self.dialect})"
        if self.missing:
            text += f"; not in the file: {_some(self.missing)}"
        if self.unexpected:
            text += f"; not in the model: {_some(self.unexpected)}"
        for name, given, expected in self.mismatched:
            text += f"; {name} left out: {given} in the file, {expected} in the model"
        return text


def load_weights(model: Module, path: str | os.PathLike) -> LoadReport:
    """Load a file of ShuffleNet v2 weights into a model with our names of layers.

    Args:
        model: a ``ShuffleNetV2`` or any module with (some of) its layers under the same names.
            A ``ShuffleNetV2`` also gets the ``preprocessing`` that the weights want.
        path: any file that ``nn.weights.read_weights`` reads, in either dialect.

    Returns:
        a report; print it, so that a wrong file does not go unnoticed.

    Raises:
        WeightsError: the file cannot be trusted, or nothing in it fits, or anything but the
            classifier has another shape. The model is then unchanged.
        OSError: there is no such file or it cannot be read.
    """
    tensors = read_weights(path)
    own = model.state_dict()
    tensors = _without_prefix(tensors, own)
    if any(MEGVII_BLOCK.fullmatch(name) for name in tensors):
        dialect, preprocessing = "megvii", MEGVII
        tensors = _from_megvii(path, tensors)
    else:
        dialect, preprocessing = "torchvision", IMAGENET

    fitting, mismatched = {}, []
    for name in own:
        if name in tensors and tensors[name].shape == own[name].shape:
            fitting[name] = tensors[name]
        elif name in tensors:
            mismatched.append((name, tensors[name].shape, own[name].shape))
    _refuse_misfits(path, tensors, fitting, mismatched)
    model.load_state_dict(fitting, strict=False)
    if isinstance(model, Network):
        model.preprocessing = preprocessing
    return LoadReport(
        path=str(Path(path)),
        dialect=dialect,
        loaded=_counted(fitting),
        missing=_counted(name for name in own if name not in tensors),
        unexpected=_counted(name for name in tensors if name not in own),
        mismatched=mismatched,
        preprocessing=preprocessing,
    )


def _without_prefix(tensors: dict[str, np.ndarray], own: dict) -> dict[str, np.ndarray]:
    """The tensors by the names they have where the network is the whole model.

    It may have been a part of one, ``backbone.`` or ``model.``, or have been spread over several
    GPUs, ``module.``; that is where most of its layers are.
    """
    prefixes = Counter(
        name[: layer.start(1)] for name in tensors if (layer := LAYER.search(name)) is not None
    )
    for prefix, _ in prefixes.most_common(1):
        bare = {name.removeprefix(prefix): array for name, array in tensors.items()}
        is_known = any(name in own or MEGVII_BLOCK.fullmatch(name) for name in bare)
        if is_known and len(bare) == len(tensors):
            return bare
    return tensors


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


def _refuse_misfits(path, tensors: dict, fitting: dict, mismatched: list) -> None:
    wrong = [entry for entry in mismatched if not entry[0].startswith("fc.")]
    if wrong:
        name, given, expected = wrong[0]
        raise WeightsError(
            path,
            f"weights of another network, perhaps of another width: {len(wrong)} tensors have "
            f"other shapes, the first is {name}: {given} in the file, {expected} in the model",
        )
    if not _counted(fitting):
        raise WeightsError(
            path,
            f"none of its {len(tensors)} tensors has a name of this model; its names begin with "
            f"{_some(list(tensors))}",
        )


def _from_megvii(path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights under our names and in our order of channels."""
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
    ours = {}
    for name, array in tensors.items():
        block = MEGVII_BLOCK.fullmatch(name)
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


def _counted(names) -> list[str]:
    return [name for name in names if not name.endswith(COUNTER)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
