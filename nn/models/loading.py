"""Puts a file of weights into a network, whichever of the names it knows the file uses."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nn.models.network import Network, Preprocessing
from nn.module import Module
from nn.printable import printable
from nn.weights import WeightsError, read_weights

COUNTER = "num_batches_tracked"  # how many batches a batch norm has seen; of no effect on features


@dataclass
class LoadReport:
    """What ``load_weights`` did, by tensor name. Counters of batch norms are not counted.

    Attributes:
        path: the file.
        dialect: whose names its tensors have: those of the model, "torchvision" as a rule, or the
            name of one of its ``dialects``.
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
        return printable(text)


def load_weights(model: Module, path: str | os.PathLike) -> LoadReport:
    """Load a file of weights into a network.

    Args:
        model: a ``Network``, which also gets the ``preprocessing`` that the weights want, or any
            module with (some of) a network's layers under the same names.
        path: any file that ``nn.weights.read_weights`` reads, with the names of the network's
            layers or in one of its ``dialects``. The network may be a part of what the file holds.

    Returns:
        a report; print it, so that a wrong file does not go unnoticed.

    Raises:
        WeightsError: the file cannot be trusted, or nothing in it fits, or anything but the
            classifier has another shape. The model is then unchanged.
        OSError: there is no such file or it cannot be read.
    """
    tensors = read_weights(path)
    own = model.state_dict()
    contract = type(model) if isinstance(model, Network) else Network
    dialect, preprocessing = contract.names, contract.preprocessing
    for other in contract.dialects:
        bare = _without_prefix(tensors, other.knows)
        if any(other.knows(name) for name in bare):
            dialect, preprocessing = other.name, other.preprocessing
            tensors = other.translate(path, bare)
            break
    else:
        tensors = _without_prefix(tensors, own.__contains__)

    fitting, mismatched = {}, []
    for name in own:
        if name in tensors and tensors[name].shape == own[name].shape:
            fitting[name] = tensors[name]
        elif name in tensors:
            mismatched.append((name, tensors[name].shape, own[name].shape))
    _refuse_misfits(path, tensors, fitting, mismatched, contract.classifier_names)
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


def _without_prefix(
    tensors: dict[str, np.ndarray], knows: Callable[[str], bool]
) -> dict[str, np.ndarray]:
    """The tensors by the names they have where the network is the whole model.

    It may have been a part of one, ``backbone.`` or ``model.``, or have been spread over several
    GPUs, ``module.``: the prefix is the one that leaves the most names that ``knows`` knows.
    """
    prefixes = Counter(
        name[:start]
        for name in tensors
        for start in (0, *(dot + 1 for dot, letter in enumerate(name) if letter == "."))
        if knows(name[start:])
    )
    for prefix, _ in prefixes.most_common(1):
        bare = {name.removeprefix(prefix): array for name, array in tensors.items()}
        if len(bare) == len(tensors):
            return bare
    return tensors


def _refuse_misfits(
    path, tensors: dict, fitting: dict, mismatched: list, classifier: tuple[str, ...]
) -> None:
    wrong = [entry for entry in mismatched if entry[0].rpartition(".")[0] not in classifier]
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


def _counted(names) -> list[str]:
    return [name for name in names if not name.endswith(COUNTER)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
