"""A network written as PyTorch's code computes what it computes here, and takes its weights."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import DOUBLE, at_night, family_of, filled

import nn
from nn.inference.any_size import NoEquivalentError
from nn.models import NETWORKS

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")  # the functions of one operation stand beside ONNX's
pytest.importorskip("onnxruntime")

from test_nn_onnx import FUNCTIONS, OTHER, SHAPES, Function, array  # noqa: E402

from detector.tools.export.torch_network import OPERATIONS, network_code  # noqa: E402

# What has no row, or stands beside a constant that is no layer's in ``FUNCTIONS``.
CONSTANTS = {"Subtract", "Cat"}


def in_pytorch(module, shapes):
    """The class of the code, with the weights of ``module``."""
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    exec(network_code(module, shapes), names)
    network = names["Network"]().eval()
    state = {name: torch.from_numpy(part) for name, part in module.state_dict().items()}
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network


def without_weights(function):
    module = Function(function)
    del module._parameters["anything"]
    return module


def check(module, shapes, images):
    with nn.evaluating(module), nn.no_grad(), torch.no_grad():
        ours = module(nn.Tensor(images)).data
        theirs = in_pytorch(module, shapes)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * max(np.abs(ours).max(), 0.1))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation(operation):
    module = without_weights(FUNCTIONS[operation.__name__])
    if operation.__name__ in CONSTANTS:
        with pytest.raises(NoEquivalentError, match="of a constant"):
            network_code(module, SHAPES)
        return
    check(module, SHAPES, array(*OTHER))


@pytest.mark.parametrize("name", at_night)
def test_every_network(name):
    nn.manual_seed(0)
    network = NETWORKS[name](num_classes=7)
    if name not in DOUBLE | {"efficientnet_b3"}:  # with these they make too much of a rounding
        filled(network)
    side = 224 if family_of(name) in ("alexnet", "vgg") else 160
    check(network, [(1, 3, 224, 224), (2, 3, 256, 288)], array(1, 3, side, 224))


def test_what_has_no_row_is_named():
    with pytest.raises(NoEquivalentError, match="Var has no form in PyTorch"):
        network_code(without_weights(lambda x: x.var(1)), SHAPES)
    with pytest.raises(NoEquivalentError, match="Function has no form in PyTorch"):
        network_code(Function(lambda x: x), SHAPES)
