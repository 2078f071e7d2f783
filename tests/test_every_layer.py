"""Every layer meets every check: PyTorch's layer with the same weights, gradients, no images, NaN.

A new layer without a row fails.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import numpy as np
import pytest
from every_checks import CHECKS, Row, check, spread

import nn
from nn import layers


def images(N):
    return [spread(N, 4, 5, 6)]


@dataclass
class Layer:
    """Arguments of a layer and its input, as a function of the number of images.

    ``random``: whether training draws random numbers; then only evaluation is compared.
    ``trains_nothing``: whether training refuses an input without images.
    """

    args: tuple = ()
    options: dict = field(default_factory=dict)
    arrays: object = images
    random: bool = False
    trains_nothing: bool = True
    nan_gradient: bool = True


LAYERS = {
    "AdaptiveAvgPool2d": [Layer((1,)), Layer(((None, 4),))],
    "AdaptiveMaxPool2d": [Layer((2,)), Layer(((None, 4),))],
    "AvgPool2d": [
        Layer((2,)),
        Layer((3, 2, 1), {"ceil_mode": True, "count_include_pad": False}),
    ],
    "BatchNorm2d": [
        Layer((4,), trains_nothing=False, nan_gradient=False),
        Layer((4, 0.1, None), trains_nothing=False, nan_gradient=False),
        Layer((4,), {"affine": False}, trains_nothing=False, nan_gradient=False),
    ],
    "ChannelShuffle": [Layer((2,))],
    "Conv2d": [
        Layer((4, 6, 3)),
        Layer((4, 6, (3, 2), 2, (1, 0), 1, 2, False, "zeros")),
        Layer((4, 4, 3), {"padding": "same", "dilation": 2, "groups": 4}),
        Layer((4, 2, (2, 3), 1, "same")),
        Layer((4, 2, 1), {"padding": "valid"}),
    ],
    "ConvTranspose2d": [
        Layer((4, 6, 3)),
        Layer((4, 6, (3, 2), 2, 1, 1, 2, False, 1, "zeros")),
        Layer((4, 3, 3), {"stride": 2, "dilation": 2}),
    ],
    "Dropout": [Layer(random=True), Layer((0.1, True), random=True)],
    "Dropout2d": [Layer(random=True)],
    "Flatten": [Layer(), Layer((0, 2)), Layer((-2, -1))],
    "GroupNorm": [Layer((2, 4)), Layer((4, 4, 0.1), {"affine": False})],
    "Hardsigmoid": [Layer(), Layer((True,))],
    "Hardswish": [Layer(nan_gradient=False), Layer((True,), nan_gradient=False)],
    "Identity": [Layer(), Layer((54, "anything"), {"at": "all"})],
    "L2Norm": [Layer((4,)), Layer((4, 3.0, 9.0))],
    "LayerNorm": [
        Layer((6,)),
        Layer(((5, 6), 0.1), {"elementwise_affine": False}),
        Layer(([4, 5, 6],), {"bias": False}),
    ],
    "LeakyReLU": [Layer(), Layer((0.1, True))],
    "Linear": [Layer((6, 3)), Layer((6, 3, False))],
    "LocalResponseNorm": [Layer((5,)), Layer((2, 0.5, 0.9, 2.0))],
    "MaxPool2d": [Layer((2,)), Layer((3, 2, 1), {"dilation": 1, "ceil_mode": True})],
    "PixelShuffle": [Layer((2,))],
    "ReLU": [Layer(), Layer((True,))],
    "ReLU6": [Layer(), Layer((True,))],
    "SiLU": [Layer(), Layer((True,))],
    "Sigmoid": [Layer()],
    "Softmax": [Layer((1,))],
    "StochasticDepth": [Layer((0.3, "row"), random=True)],
    "Tanh": [Layer()],
    "Upsample": [
        Layer((7,)),
        Layer(options={"scale_factor": 2, "mode": "bilinear"}),
        Layer(((7, 4), None, "bilinear", True)),
    ],
    "ZeroPad2d": [Layer((2,)), Layer(((1, 0, -1, 2),))],
}
NOT_PYTORCHS = {"L2Norm", "StochasticDepth"}  # SSD's, torchvision's
# Arguments of PyTorch's that layers here do not have; "bias" of BatchNorm2d is by keyword and new.
LEFT_OUT = {
    "device", "dtype", "return_indices", "divisor_override", "recompute_scale_factor", "bias",
    "args", "kwargs",
}  # fmt: skip

ROWS = [
    pytest.param(name, layer, id=f"{name}-{index}")
    for name, each in LAYERS.items()
    for index, layer in enumerate(each)
]


def make(name, layer):
    nn.manual_seed(3)
    made = getattr(layers, name)(*layer.args, **layer.options)
    for index, parameter in enumerate(made.parameters()):  # ones and zeros would hide mistakes
        parameter.data += np.float32(0.1 * (index + 1))
    for index, (key, buffer) in enumerate(made.state_dict().items()):
        if "running" in key:
            buffer += np.float32(0.2 * (index + 1))
    return made


def torch_layer(name, layer, made):
    """PyTorch's layer in float64 with the same weights, under the same names."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*layer.args, **layer.options).double()
    if hasattr(theirs, "inplace"):
        theirs.inplace = False  # it may not change a leaf
    state = {key: torch.tensor(value) for key, value in made.state_dict().items()}
    theirs.load_state_dict(state)
    return theirs


def test_every_layer_has_a_row():
    assert set(LAYERS) == set(layers.__all__)
    assert set(layers.__all__) <= set(nn.__all__)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("name, layer", ROWS)
def test_layer(name, layer, what, training):
    made = make(name, layer).train(training)
    if layer.random and training:
        pytest.skip("random")
    if what != "types and shapes":
        made.double()
    if what == "gradients" and name == "BatchNorm2d":
        pytest.skip("its running statistics move; functional.batch_norm is checked")
    compares = what in ("torch", "no images", "nan") and name not in NOT_PYTORCHS
    theirs = torch_layer(name, layer, made).train(training) if compares else False
    nothing = ValueError if training and not layer.trains_nothing else None
    row = Row(layer.arrays, empty=nothing, nan_gradient=layer.nan_gradient)
    check(what, made, theirs, row)
    if what == "torch" and theirs:
        for (key, own), other in zip(
            made.state_dict().items(), theirs.state_dict().values(), strict=True
        ):
            np.testing.assert_allclose(own, other.numpy(), rtol=1e-7, err_msg=key)
        for parameter, other in zip(made.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(parameter.grad, other.grad.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - NOT_PYTORCHS - {"Identity"}))
def test_arguments_are_pytorchs_in_its_order(name):
    torch = pytest.importorskip("torch")
    own = list(inspect.signature(getattr(layers, name).__init__).parameters)
    theirs = list(inspect.signature(getattr(torch.nn, name).__init__).parameters)
    assert own == [each for each in theirs if each in own]
    assert set(theirs) - set(own) <= LEFT_OUT


@pytest.mark.parametrize("name, layer", ROWS)
def test_it_says_what_it_is(name, layer):
    assert repr(getattr(layers, name)(*layer.args, **layer.options)).startswith(f"{name}(")


def test_batch_norm_without_running_statistics_normalises_by_the_batch():
    norm = nn.BatchNorm2d(4, track_running_stats=False).eval()
    out = norm(nn.Tensor(spread(3, 4, 5, 6))).data
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-9)
    assert list(norm.state_dict()) == ["weight", "bias"]


def test_batch_norm_without_momentum_keeps_the_plain_mean():
    norm, batches = nn.BatchNorm2d(2, momentum=None), [spread(3, 2, 4, 4) + i for i in range(5)]
    for batch in batches:
        norm(nn.Tensor(batch.astype(np.float32)))
    expected = np.mean([batch.mean((0, 2, 3)) for batch in batches], axis=0)
    np.testing.assert_allclose(norm.running_mean, expected, rtol=1e-4)


def test_dropout_of_channels_and_branches():
    x = nn.Tensor(np.ones((40, 30, 2, 3), np.float32))
    whole = nn.Dropout2d(0.25)(x).data
    assert set(np.unique(whole)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (whole == whole[..., :1, :1]).all()
    assert abs((whole == 0).mean() - 0.25) < 0.05
    rows = nn.StochasticDepth(0.5, "row")(x).data
    assert (rows == rows[:, :1, :1, :1]).all() and 5 < (rows[:, 0, 0, 0] == 0).sum() < 35
    assert len(np.unique(nn.StochasticDepth(0.5, "batch")(x).data)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nn.Conv2d(4, 6, 3, padding_mode="reflect"),
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding="same")(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.Conv2d(4, 6, 3, padding="full")(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.Conv2d(4, 6, 3, groups=3),
        lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=1)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.ConvTranspose2d(4, 6, 3)(nn.Tensor(spread(1, 3, 5, 6))),
        lambda: nn.ConvTranspose2d(4, 6, 1, padding=4)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.LayerNorm(5)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.LocalResponseNorm(0)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.PixelShuffle(3)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.StochasticDepth(0.5, "column")(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.ZeroPad2d(-3)(nn.Tensor(spread(1, 4, 5, 6))),
        lambda: nn.functional.pad(nn.Tensor(spread(1, 4)), (1, 1), "reflect"),
        lambda: nn.functional.pad(nn.Tensor(spread(1, 4)), (1, 1, 2)),
        lambda: nn.Tensor(spread(1, 4)).split([1, 2], 1),
    ],
)
def test_mistakes_get_one_line(wrong):
    with pytest.raises(ValueError, match="^[^\n]*$"):
        wrong()


@pytest.mark.parametrize("name, layer", ROWS)
def test_compiled_it_is_the_same(name, layer):
    made = make(name, layer).eval()
    x = spread(2, 4, 5, 6).astype(np.float32)
    compiled = nn.inference.compile(made, x.shape)
    np.testing.assert_allclose(compiled(x), made(nn.Tensor(x)).data, rtol=1e-5, atol=1e-5)
