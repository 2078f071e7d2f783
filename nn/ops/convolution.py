"""Two-dimensional convolution and its transpose, forward and backward, on plain arrays.

Convolution chooses among four kernels: depthwise (a channel sees only itself), its most common
case (a stencil of 3 x 3 pixels), pointwise (a pixel sees only itself: a matrix product), and the
general one.
"""

from __future__ import annotations

import numpy as np

from nn.kernels import convolution, depthwise, stencil
from nn.kernels.matmul import matmul, matmul_transposed
from nn.ops.geometry import Geometry, Pair
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class Conv2d(Operation):
    """out[n, o, y, x] = bias[o] + sum of weight[o, c, i, j] * input[n, c, y s + i d - p, ...].

    ``input`` (N, C, H, W), ``weight`` (OC, C / groups, KH, KW), ``bias`` (OC,) or not given;
    stride s, padding p and dilation d are (vertical, horizontal) pairs. The output is
    (N, OC, OH, OW) with OH = (H + 2 p - d (KH - 1) - 1) // s + 1.

    Raises:
        ValueError: shapes that do not go together, or an output without pixels.
    """

    @staticmethod
    def output_shape(
        input, weight, bias=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
    ):
        shapes = f"input {input}, weight {weight}"
        if len(input) != 4 or len(weight) != 4:
            raise ValueError(f"conv2d wants N C H W and OC C/groups KH KW, got {shapes}")
        C, OC = input[1], weight[0]
        if groups < 1 or C != weight[1] * groups or OC % groups:
            raise ValueError(
                f"conv2d channels do not match: {shapes}, groups {groups}; the weight must have "
                f"shape[1] = {C} / groups and shape[0] a multiple of groups"
            )
        if bias is not None and bias != (OC,):
            raise ValueError(f"conv2d bias must have shape ({OC},), got {bias} with {shapes}")
        lie = f"stride {stride}, padding {padding}, dilation {dilation}"
        if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
            raise ValueError(f"conv2d wants stride and dilation >= 1 and padding >= 0, got {lie}")
        size = Geometry(weight, stride, padding, dilation, groups).output_size(input[2:])
        if min(size) < 1:
            raise ValueError(
                f"conv2d output would be {size[0]} x {size[1]} pixels: {shapes}, {lie}; use a "
                f"larger image or more padding"
            )
        return input[0], OC, *size

    def forward(
        self,
        input: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        dilation: Pair = (1, 1),
        groups: int = 1,
    ) -> np.ndarray:
        shapes = input.shape, weight.shape, None if bias is None else bias.shape
        lie = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        out_shape = self.output_shape(*shapes, **lie)
        self.has_bias = bias is not None
        dtype = np.result_type(input, weight)
        input = contiguous(input.astype(dtype, copy=False))
        weight = contiguous(weight.astype(dtype, copy=False))
        bias = np.zeros(len(weight)) if bias is None else bias
        bias = contiguous(bias.astype(dtype, copy=False))
        out = np.empty(out_shape, dtype)

        self.geometry = Geometry(weight.shape, **lie)
        if self.geometry.is_pointwise:
            matmul(matrix(weight), planes(input), bias, planes(out), False, False)
        elif self.geometry.is_stencil:
            stencil.stencil_forward(input, weight, bias, out, stride[0], False)
        elif self.geometry.is_depthwise:
            depthwise.depthwise_forward(input, weight, bias, out, *self.geometry.spacing, False)
        else:
            convolution.conv2d_forward(input, weight, bias, out, *self.geometry.spacing, False)

        self.dtype, self.input_shape, self.weight_shape = dtype, input.shape, weight.shape
        self.input = input if self.needs_grad[1] else None
        self.weight = weight if self.needs_grad[0] else None
        return out

    def backward(self, grad_output: np.ndarray) -> tuple[np.ndarray | None, ...]:
        grad_output = contiguous(grad_output.astype(self.dtype, copy=False))
        grads = [
            self.grad_input(grad_output) if self.needs_grad[0] else None,
            self.grad_weight(grad_output) if self.needs_grad[1] else None,
        ]
        if self.has_bias:
            grads.append(grad_output.sum((0, 2, 3)) if self.needs_grad[2] else None)
        return tuple(grads)

    def grad_input(self, grad_output: np.ndarray) -> np.ndarray:
        grad_input = np.empty(self.input_shape, grad_output.dtype)
        spacing = self.geometry.spacing
        if self.geometry.is_pointwise:
            zeros = np.zeros(self.input_shape[1], grad_output.dtype)
            grads = planes(grad_output)
            matmul(matrix(self.weight), grads, zeros, planes(grad_input), True, False)
        elif self.geometry.is_stencil:
            stencil.stencil_grad_input(grad_output, self.weight, grad_input, spacing[0][0])
        elif self.geometry.is_depthwise:
            depthwise.depthwise_grad_input(grad_output, self.weight, grad_input, *spacing)
        else:
            convolution.conv2d_grad_input(grad_output, self.weight, grad_input, *spacing)
        return grad_input

    def grad_weight(self, grad_output: np.ndarray) -> np.ndarray:
        grad_weight = np.empty(self.weight_shape, grad_output.dtype)
        spacing = self.geometry.spacing
        if self.geometry.is_pointwise:
            zeros = np.zeros(self.weight_shape[1], grad_output.dtype)
            matmul_transposed(
                planes(grad_output), planes(self.input), zeros, matrix(grad_weight)[0]
            )
        elif self.geometry.is_stencil:
            stencil.stencil_grad_weight(self.input, grad_output, grad_weight, spacing[0][0])
        elif self.geometry.is_depthwise:
            depthwise.depthwise_grad_weight(self.input, grad_output, grad_weight, *spacing)
        else:
            convolution.conv2d_grad_weight(self.input, grad_output, grad_weight, *spacing)
        return grad_weight


class ConvTranspose2d(Operation):
    """A convolution's gradient: each pixel is spread over the window that it would have come from.

    out[n, o, y s + i d - p, ...] += weight[c, o, i, j] * input[n, c, y, x], and then + bias[o]

    ``input`` (N, C, H, W), ``weight`` (C, OC / groups, KH, KW), ``bias`` (OC,) or not given; stride
    s, padding p, dilation d and ``output_padding`` q are pairs. The output is (N, OC, OH, OW) with
    OH = (H - 1) s - 2 p + d (KH - 1) + q + 1; several OH give the same H, and q says which.

    Raises:
        ValueError: shapes that do not go together, or an output without pixels.
    """

    @staticmethod
    def output_shape(
        input, weight, bias=None, *, stride, padding, output_padding, dilation, groups
    ):
        shapes = f"input {input}, weight {weight}, bias {bias}, groups {groups}"
        if len(input) != 4 or len(weight) != 4:
            raise ValueError(f"conv_transpose2d wants N C H W and C OC/groups KH KW, got {shapes}")
        outputs = weight[1] * groups
        if groups < 1 or input[1] != weight[0] or weight[0] % groups:
            raise ValueError(f"conv_transpose2d channels do not match: {shapes}")
        if bias is not None and tuple(bias) != (outputs,):
            raise ValueError(f"conv_transpose2d bias must have shape ({outputs},): {shapes}")
        axes = list(
            zip(input[2:], weight[2:], stride, padding, output_padding, dilation, strict=True)
        )
        size = [(n - 1) * s - 2 * p + d * (k - 1) + q + 1 for n, k, s, p, q, d in axes]
        lie = f"stride {stride}, padding {padding}, output_padding {output_padding}"
        if min(*stride, *dilation) < 1 or min(*padding, *output_padding) < 0 or min(size) < 1:
            raise ValueError(f"conv_transpose2d: no output for {lie}, {shapes}")
        if any(q >= max(s, d) for _, _, s, _, q, d in axes):
            raise ValueError(f"conv_transpose2d: output_padding is below the stride, got {lie}")
        return input[0], outputs, *size

    def forward(
        self, input, weight, bias=None, *, stride, padding, output_padding, dilation, groups
    ):
        shapes = input.shape, weight.shape, None if bias is None else bias.shape
        shape = self.output_shape(
            *shapes, stride=stride, padding=padding, output_padding=output_padding,
            dilation=dilation, groups=groups,
        )  # fmt: skip
        self.dtype = dtype = np.result_type(input, weight)
        self.input = contiguous(input.astype(dtype, copy=False))
        self.weight = contiguous(weight.astype(dtype, copy=False))
        self.has_bias, self.spacing = bias is not None, (stride, padding, dilation)
        out = np.empty(shape, dtype)
        convolution.conv2d_grad_input(self.input, self.weight, out, *self.spacing)
        if self.has_bias:
            out += bias.astype(dtype, copy=False)[:, None, None]
        return out

    def backward(self, grad_output):
        grad_output = contiguous(grad_output.astype(self.dtype, copy=False))
        grads = [None, None]
        if self.needs_grad[0]:
            grads[0] = np.empty_like(self.input)
            zeros = np.zeros(len(self.weight), self.dtype)
            convolution.conv2d_forward(
                grad_output, self.weight, zeros, grads[0], *self.spacing, False
            )
        if self.needs_grad[1]:
            grads[1] = np.empty_like(self.weight)
            convolution.conv2d_grad_weight(grad_output, self.input, grads[1], *self.spacing)
        if self.has_bias:
            grads.append(grad_output.sum((0, 2, 3)) if self.needs_grad[2] else None)
        return tuple(grads)


def planes(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as N matrices (C, H * W), without a copy."""
    N, C, H, W = images.shape
    return images.reshape(N, C, H * W)


def matrix(weight: np.ndarray) -> np.ndarray:
    """Pointwise weights (OC, C, 1, 1) as a batch of one matrix (1, OC, C), without a copy."""
    return weight.reshape(1, *weight.shape[:2])
