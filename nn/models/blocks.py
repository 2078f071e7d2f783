"""What the blocks of many families are made of."""

from __future__ import annotations

from nn import functional as F
from nn import init
from nn.layers import BatchNorm2d, Conv2d, Linear, ReLU
from nn.module import Module, Sequential
from nn.tensor import Tensor

Size = int | tuple[int, int]


class ConvBN(Module):
    """A convolution ``conv``, batch norm ``bn``, ReLU: relu(bn(conv(x))).

    Args:
        padding: zeros on each side; None for as many as keep the size at stride 1.
        eps: of the batch norm.
        relu: False leaves the ReLU away.
        bias: of the convolution, which batch norm makes superfluous.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
        padding: Size | None = None, eps: float = 1e-5, relu: bool = True, bias: bool = False,
    ):  # fmt: skip
        super().__init__()
        padding = half(kernel_size) if padding is None else padding
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self.bn = BatchNorm2d(out_channels, eps)
        self.relu = relu

    def forward(self, input: Tensor) -> Tensor:
        return self.bn(self.conv(input), relu=self.relu)


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1,
    activation: type[Module] | None = ReLU, eps: float = 1e-5, momentum: float = 0.1,
    dilation: int = 1,
) -> Sequential:  # fmt: skip
    """The same as torchvision has it: named 0, 1 and 2, of any activation; the size stays."""
    return Sequential(
        Conv2d(
            in_channels, out_channels, kernel_size, stride, dilation * (kernel_size // 2), dilation,
            groups, bias=False,
        ),
        BatchNorm2d(out_channels, eps, momentum),
        *([] if activation is None else [activation()]),
    )  # fmt: skip


class SqueezeExcitation(Module):
    """Every channel times a number in 0..1 that two small layers find in the means of all.

    x * scale(fc2(activation(fc1(mean of x)))); fc1 has ``squeezed`` outputs. (Hu et al. 2018.)

    Args:
        names: of the two layers.
    """

    def __init__(
        self, channels: int, squeezed: int, activation=F.relu, scale=F.sigmoid,
        names: tuple[str, str] = ("fc1", "fc2"),
    ):  # fmt: skip
        super().__init__()
        setattr(self, names[0], Conv2d(channels, squeezed, 1))
        setattr(self, names[1], Conv2d(squeezed, channels, 1))
        self.activation, self.scale = activation, scale

    def forward(self, input: Tensor) -> Tensor:
        first, second = self.children()
        means = F.adaptive_avg_pool2d(input, 1)
        return input * self.scale(second(self.activation(first(means))))


class SameConv2d(Conv2d):
    """A convolution with TensorFlow's padding.

    As many zeros as make ceil(size / stride) of a size, one more behind than before where their
    number is odd. So what it does at a stride depends on whether the size is even.
    """

    def forward(self, input: Tensor) -> Tensor:
        zeros = [
            max(0, (-(-size // stride) - 1) * stride + window - size)
            for size, stride, window in zip(
                input.shape[2:], self.stride, self.kernel_size, strict=True
            )
        ]
        if zeros[0] % 2 or zeros[1] % 2:
            input = F.pad(input, (0, zeros[1] % 2, 0, zeros[0] % 2))
        padding = (zeros[0] // 2, zeros[1] // 2)
        return F.conv2d(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


def same_padding(input: Tensor) -> tuple[int, int]:
    """That of 3x3 poolings /2, as TensorFlow has it: none before an even number of pixels.

    In ``ceil_mode`` the last window then hangs over: ceil(size / 2) of every size.
    """
    return input.shape[2] % 2, input.shape[3] % 2


class SameMaxPool2d(Module):
    """3x3 max pooling /2 with TensorFlow's padding; the same as Caffe's at even sizes."""

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(input, 3, 2, same_padding(input), ceil_mode=True)


class Branches(Module):
    """Layers that all get the same map, and whose outputs are concatenated in order."""

    def __init__(self, branches: dict[str, Module]):
        super().__init__()
        for name, branch in branches.items():
            setattr(self, name, branch)

    def forward(self, input: Tensor) -> Tensor:
        return F.cat([branch(input) for branch in self.children()], dim=1)


def half(kernel_size: Size) -> Size:
    """The padding that keeps the size of a map."""
    if isinstance(kernel_size, int):
        return kernel_size // 2
    return tuple(size // 2 for size in kernel_size)


def initialise(model: Module, linear_std: float | None = None) -> None:
    """He's normal distribution by fan-out for convolutions; N(0, ``linear_std``^2) for fully
    connected layers, if given; biases of both begin with 0."""
    for module in model.modules():
        if isinstance(module, Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, Linear) and linear_std is not None:
            init.normal_(module.weight, 0.0, linear_std)
        else:
            continue
        if module.bias is not None:
            init.zeros_(module.bias)


def rounded(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, or the next one if that would lose more than 10 %.

    The ``_make_divisible`` of MobileNet's authors; their papers do not mention it.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
