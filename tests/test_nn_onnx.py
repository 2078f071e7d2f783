"""Every operation that has a form in ONNX computes there what it computes here, at any size."""

from __future__ import annotations

import numpy as np
import pytest
from network_cases import DOUBLE, at_night, family_of, filled

import nn
from nn import functional as F

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from nn.inference.any_size import NoEquivalentError  # noqa: E402
from nn.models import NETWORKS  # noqa: E402
from nn.onnx.emitters import EMITTERS  # noqa: E402
from nn.onnx.graph import Graph  # noqa: E402
from nn.onnx.network import add_module, network_model  # noqa: E402

SHAPES = (1, 4, 6, 8), (1, 4, 10, 14)
OTHER = (1, 4, 14, 10)  # a size that was not traced

# Families that divide a map into 6 x 6 or 7 x 7 parts, and so have a graph for one size only.
FIXED = {"alexnet", "vgg"}


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.anything = nn.Parameter(np.zeros(1, np.float32))  # so that the input is float32

    def forward(self, x):
        return self.function(x)


def line(size):
    return nn.Tensor(array(size)), nn.Tensor(array(size, seed=1))


FUNCTIONS = {
    "Add": lambda x: x + x * 2,
    "Subtract": lambda x: x - nn.Tensor(array(1, 4, 1, 1)),
    "Multiply": lambda x: x * x,
    "Divide": lambda x: x / (x * x + 1),
    "Negate": lambda x: -x,
    "Power": lambda x: x**2,
    "Exp": lambda x: x.exp(),
    "Log": lambda x: (x * x + 1).log(),
    "Abs": lambda x: x.abs(),
    "Sqrt": lambda x: (x * x).sqrt(),
    "Clamp": lambda x: x.clamp(-0.5, 0.7) + x.clamp(min=0.1) + x.clamp(max=0.2),
    "Where": lambda x: F.where(array(1, 4, 1, 1) > 0, x, x * 2),
    "ReLU": F.relu,
    "ReLU6": lambda x: F.relu6(5 * x),
    "Sigmoid": F.sigmoid,
    "Tanh": F.tanh,
    "LeakyReLU": lambda x: F.leaky_relu(x, 0.3),
    "Hardsigmoid": lambda x: F.hardsigmoid(3 * x),
    "Hardswish": lambda x: F.hardswish(3 * x),
    "SiLU": F.silu,
    "Softmax": lambda x: F.softmax(x, 1) + F.softmax(x, -1),
    "LogSoftmax": lambda x: F.log_softmax(x, 1),
    "Sum": lambda x: x.sum(1) + x.sum((1,)),
    "Mean": lambda x: x.mean((2, 3)) + x.mean(),
    "Max": lambda x: _values(x.max(1)),
    "Min": lambda x: _values(x.min(1)),
    "Prod": lambda x: x.prod(1),
    "Conv2d": lambda x: F.conv2d(
        x,
        nn.Tensor(array(6, 2, 3, 5)),
        nn.Tensor(array(6)),
        stride=(2, 1),
        padding=(1, 4),
        dilation=(1, 2),
        groups=2,
    ),
    "ConvTranspose2d": lambda x: F.conv_transpose2d(
        x, nn.Tensor(array(4, 3, 3, 3)), stride=2, padding=1, output_padding=1, groups=2
    ),
    "Linear": lambda x: (
        F.linear(x.mean((2, 3)), nn.Tensor(array(5, 4)), nn.Tensor(array(5)))
        + F.linear(x.permute(0, 2, 3, 1), nn.Tensor(array(5, 4))).mean((1, 2))
    ),
    "MatMul": lambda x: x @ x.transpose(2, 3),
    "BatchNorm": lambda x: F.batch_norm(
        x, array(4), np.abs(array(4)) + 0.5, *line(4), training=False
    ),
    "GroupNorm": lambda x: F.group_norm(x, 2, *line(4)),
    "LocalResponseNorm": lambda x: F.local_response_norm(x, 3, alpha=0.3, beta=0.7, k=2.0),
    "Normalize": lambda x: F.normalize(x) + F.normalize(x, -1, eps=1.5),
    "MaxPool2d": lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), ceil_mode=True),
    "AvgPool2d": lambda x: (
        F.avg_pool2d(x, 3, 2, 1)
        + F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)[..., :-1, :-1]
    ),
    "AdaptiveAvgPool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "AdaptiveMaxPool2d": lambda x: F.adaptive_max_pool2d(x, 1),
    "Reshape": lambda x: x.reshape(1, 4, -1).reshape(2, 2, -1),
    "Transpose": lambda x: x.permute(0, 2, 3, 1),
    "Cat": lambda x: F.cat([x, x * 2, nn.Tensor(array(1, 4, 1, 1)) + x], -1),
    "Pad": lambda x: F.pad(x, (1, 2, 0, -1), value=0.5),
    "Expand": lambda x: x.mean((2, 3), keepdim=True).expand(1, 4, 3, 2),
    "Index": lambda x: x[:, 1:3, ::2, -1] + x[:, 0:2, ::2, 0] + x[..., ::2, 1][:, [0, 3]],
    "ChannelShuffle": lambda x: F.channel_shuffle(x, 2),
    "Interpolate": lambda x: (
        F.interpolate(x, scale_factor=2) + F.interpolate(x, scale_factor=2, mode="bilinear")
    ),
}


def _values(result):
    return result[0] if isinstance(result, tuple) else result


def outputs_of(module, x) -> list[np.ndarray]:
    with nn.evaluating(module), nn.no_grad():
        return [module(nn.Tensor(x)).data]


def graph_of(module, shapes=SHAPES):
    graph = Graph({id(part): name for name, part in module.state_dict().items()})
    x = graph.input("x", np.float32, [1, shapes[0][1], "h", "w"])
    for number, value in enumerate(add_module(graph, module, x, shapes)):
        rank = outputs_of(module, array(*shapes[0]))[number].ndim
        graph.output(f"y{number}", value, np.float32, [None] * rank)
    return graph.model("test")


def check(module, shapes, others=()):
    content = graph_of(module, shapes).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for shape in (*shapes, *others):
        x = array(*shape, seed=5)
        for ours, theirs in zip(outputs_of(module, x), session.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)


def test_every_row_has_a_function():
    assert {operation.__name__ for operation in EMITTERS} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_operation(name):
    module = Function(FUNCTIONS[name])
    graph = graph_of(module)
    assert onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)
    check(module, SHAPES, [OTHER])


def test_pixels_are_counted_alike_in_every_bilinear_mode():
    for corners in (False, True):
        module = Function(
            lambda x, corners=corners: F.interpolate(
                x, scale_factor=2, mode="bilinear", align_corners=corners
            )
        )
        check(module, SHAPES, [OTHER])


@pytest.mark.parametrize("name", at_night)
def test_every_network(name):
    """Two pictures of a size that was not traced; of the size that was, where it must be that."""
    nn.manual_seed(0)
    network = NETWORKS[name](num_classes=7).eval()
    if name not in DOUBLE | {"efficientnet_b3"}:  # with these they make too much of a rounding
        filled(network)
    if name == "se_resnet152":  # fifty blocks of full strength make a tenth of a rounding
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.data *= np.float32(0.7)
    shapes, shape = [(1, 3, 96, 128), (2, 3, 160, 192)], (2, 3, 128, 96)
    if family_of(name) in FIXED:
        with pytest.raises(NoEquivalentError, match="AdaptiveAvgPool2d"):
            network_model(network, shapes)
        side = 227 if name == "alexnet_paper" else 224
        shape = (1, 3, side, side)
        shapes = [shape, shape]
    content = network_model(network, shapes).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = array(*shape)
    (theirs,) = session.run(None, {"images": images})
    with nn.no_grad():
        ours = network(nn.Tensor(images)).data
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda x: F.interpolate(x, size=(5, 5)), "Interpolate"),
        (lambda x: x.var(1), "Var"),
        (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), "ceil_mode"),
        (lambda x: x[[0, 0], [0, 2]], "Index"),
        (lambda x: F.adaptive_avg_pool2d(x, 2), "AdaptiveAvgPool2d"),
    ],
)
def test_what_cannot_be_said_is_named(function, words):
    with pytest.raises(NoEquivalentError, match=words):
        graph_of(Function(function))


@pytest.mark.parametrize("cells", [(7, 7), (2, 5), (4, 6), (9, 3)])
def test_means_over_parts_of_a_map_whose_size_is_known(cells):
    shape = (1, 4, *cells)
    module = Function(lambda x: F.adaptive_avg_pool2d(x, (4, 3)))
    check(module, [shape, shape])


def test_weights_keep_their_names():
    nn.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))
    names = {each.name for each in graph_of(module).graph.initializer}
    assert set(module.state_dict()) - {"1.num_batches_tracked"} <= names


def test_what_depends_on_the_size_is_no_graph():
    module = Function(lambda x: F.max_pool2d(x, 3, 2, x.shape[2] % 4 // 2))
    with pytest.raises(NoEquivalentError, match="depends on the size"):
        graph_of(module, [(1, 4, 6, 8), (1, 4, 8, 10)])
