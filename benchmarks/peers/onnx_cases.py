"""Cases as ONNX models with their inputs, for every peer that reads such models."""

from __future__ import annotations

import numpy as np

from benchmarks import cases
from benchmarks.peers import onnx_models


def model_of(case, arrays) -> tuple[bytes, dict[str, np.ndarray]] | None:
    """A model and its inputs by name; None if there is none for this case."""
    if type(case) not in BUILDERS or getattr(case, "backward", False):
        return None
    return BUILDERS[type(case)](case, arrays)


def matrix_product(case, arrays):
    return onnx_models.matrix_product(case.size), {name: arrays[name] for name in "ab"}


def convolution(case, arrays):
    state = {f"conv.{name}": arrays[name] for name in ("weight", "bias") if name in arrays}
    inputs = {"images": arrays["input"]}
    return onnx_models.convolution(state, arrays["input"].shape, case.stride, case.groups), inputs


def classifier(case, arrays):
    images = arrays["images"]
    model = onnx_models.classifier(cases.state_dict(arrays), images.shape)
    return model, {"images": images}


def any_network(case, arrays):
    return arrays["graph"].tobytes(), {"images": arrays["images"]}


def network(case, arrays):
    inputs = {name: arrays[name] for name in ("images", "pooled")}
    model = onnx_models.network(
        cases.state_dict(arrays), inputs["images"].shape, len(inputs["pooled"])
    )
    return model, inputs


BUILDERS = {
    cases.MatrixProduct: matrix_product,
    cases.Convolution: convolution,
    cases.Classifier: classifier,
    cases.AnyNetwork: any_network,
    cases.AnyDetector: any_network,
    cases.Network: network,
}
