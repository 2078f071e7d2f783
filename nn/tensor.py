"""Tensors that remember how they were computed, and the backward pass through that memory.

Sits between the operations (``nn.ops``: plain arrays, one forward and one backward each) and
everything a network is made of. The graph is built by running the program: every result keeps the
operation that made it and that operation's inputs.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nn.ops import arithmetic, elementwise, indexing, linear, reduction, shape
from nn.ops.layout import assign
from nn.ops.operation import Operation, Part, are_tiles

_state = threading.local()


def is_grad_enabled() -> bool:
    """True unless inside ``no_grad()``, for this thread."""
    return getattr(_state, "grad_enabled", True)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Compute without remembering: results do not require gradients and no graph is built."""
    before = is_grad_enabled()
    _state.grad_enabled = False
    try:
        yield
    finally:
        _state.grad_enabled = before


@contextlib.contextmanager
def recording(record: Callable) -> Iterator[None]:
    """Hand every operation of this thread to ``record`` instead of running it.

    ``record(operation_class, tensors, options)`` returns the tensor that stands for the result.
    """
    before = getattr(_state, "record", None)
    _state.record = record
    try:
        yield
    finally:
        _state.record = before


class Node:
    """One step of the computation: an operation that has run, and the tensors it ran on."""

    __slots__ = ("inputs", "operation")

    def __init__(self, operation: Operation, inputs: tuple[Tensor, ...]):
        self.operation: Operation | None = operation
        self.inputs = inputs

    def free(self) -> None:
        """Drop the saved arrays; a second backward through this node is an error."""
        self.operation = None
        self.inputs = ()


class Tensor:
    """An array, and if it requires gradients, how it came about.

    Args:
        array: anything NumPy takes. Arrays keep their dtype (float16 becomes float32); Python
            numbers and lists of them become float32.
        requires_grad: whether ``backward`` should leave a gradient in ``grad``; floats only.

    Attributes:
        data: the values, an ndarray.
        grad: ndarray of the same shape after ``backward``, or None. Gradients add up over several
            backward passes until they are set to None.
    """

    __slots__ = ("data", "grad", "node", "requires_grad", "__weakref__")

    # NumPy's own operators step back, so that `array + tensor` reaches Tensor.__radd__.
    __array_ufunc__ = None

    def __init__(self, array, requires_grad: bool = False):
        if isinstance(array, Tensor):
            array = array.data
        is_numpy = isinstance(array, np.ndarray | np.generic)
        data = np.asarray(array)
        if not is_numpy and data.dtype != bool or data.dtype == np.float16:
            data = data.astype(np.float32)
        if data.dtype.kind not in "fiub":
            raise TypeError(f"a Tensor holds numbers, not {data.dtype}")
        if requires_grad and data.dtype.kind != "f":
            raise ValueError(f"gradients need floating point numbers, this tensor has {data.dtype}")
        self.data: np.ndarray = data
        self.grad: np.ndarray | None = None
        self.requires_grad = requires_grad
        self.node: Node | None = None

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802
        """All dimensions in reverse order."""
        return self.permute(*range(self.ndim)[::-1])

    def size(self, dim: int | None = None) -> tuple[int, ...] | int:
        """The shape, or the length of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.data.ndim

    def numel(self) -> int:
        """The number of elements."""
        return self.data.size

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        values = np.array2string(self.data, prefix="Tensor(", separator=", ", threshold=100)
        return f"Tensor({values}{', requires_grad=True' if self.requires_grad else ''})"

    def numpy(self) -> np.ndarray:
        """The values as an ndarray (shared, not copied)."""
        return self.data

    def item(self) -> float:
        """The value of a tensor with one element, as a Python number."""
        return self.data.item()

    def detach(self) -> Tensor:
        """The same values without the memory of how they were computed."""
        return Tensor(self.data)

    # Gradients

    def backward(self, grad: np.ndarray | Tensor | None = None) -> None:
        """Add d(self)/d(leaf) to ``grad`` of every leaf that requires gradients.

        Args:
            grad: the gradient of the final result with respect to this tensor, of its shape;
                may be left out for a tensor with one element (then 1).

        The graph is freed on the way. Raises RuntimeError where there is no graph (any more).
        """
        if not self.requires_grad:
            raise RuntimeError("backward: this tensor does not require gradients")
        if grad is None:
            if self.numel() != 1:
                raise RuntimeError(
                    f"backward without a gradient needs one element, this tensor has {self.shape}"
                )
            grad = np.ones_like(self.data)
        grad = np.asarray(grad.data if isinstance(grad, Tensor) else grad, self.dtype)
        if grad.shape != self.shape:
            raise ValueError(f"backward: gradient {grad.shape} for a tensor of shape {self.shape}")

        pending: dict[int, list[np.ndarray | Part]] = {id(self): [grad]}
        for tensor in _from_output_to_leaves(self):
            arrived = pending.pop(id(tensor), None)
            if arrived is None:
                continue
            grad = _total(arrived, tensor)
            if tensor.node is None:
                # A copy: what arrives may be a view of another tensor's gradient.
                tensor.grad = np.array(grad) if tensor.grad is None else tensor.grad + grad
                continue
            for source, gradient in zip(
                tensor.node.inputs, _run_backward(tensor.node, grad), strict=True
            ):
                if gradient is not None:
                    pending.setdefault(id(source), []).append(gradient)
            tensor.node.free()

    # Arithmetic, element by element with NumPy's broadcasting

    def __add__(self, other) -> Tensor:
        return apply(arithmetic.Add, self, other)

    def __sub__(self, other) -> Tensor:
        return apply(arithmetic.Subtract, self, other)

    def __mul__(self, other) -> Tensor:
        return apply(arithmetic.Multiply, self, other)

    def __truediv__(self, other) -> Tensor:
        return apply(arithmetic.Divide, self, other)

    def __radd__(self, other) -> Tensor:
        return apply(arithmetic.Add, other, self)

    def __rsub__(self, other) -> Tensor:
        return apply(arithmetic.Subtract, other, self)

    def __rmul__(self, other) -> Tensor:
        return apply(arithmetic.Multiply, other, self)

    def __rtruediv__(self, other) -> Tensor:
        return apply(arithmetic.Divide, other, self)

    def __neg__(self) -> Tensor:
        return apply(arithmetic.Negate, self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply(arithmetic.Power, self, exponent=exponent)

    def __matmul__(self, other) -> Tensor:
        return apply(linear.MatMul, self, other)

    def exp(self) -> Tensor:
        return apply(elementwise.Exp, self)

    def log(self) -> Tensor:
        return apply(elementwise.Log, self)

    def abs(self) -> Tensor:
        return apply(elementwise.Abs, self)

    def sqrt(self) -> Tensor:
        return apply(elementwise.Sqrt, self)

    def clamp(self, min: float | None = None, max: float | None = None) -> Tensor:
        """No less than ``min`` and no more than ``max``."""
        return apply(elementwise.Clamp, self, min=min, max=max)

    # Shape

    def __getitem__(self, index) -> Tensor:
        return apply(indexing.Index, self, index=index)

    def reshape(self, *sizes) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return apply(shape.Reshape, self, sizes=_unpack(sizes))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions from ``start_dim`` to ``end_dim``, both included, become one."""
        start, end = start_dim % max(self.ndim, 1), end_dim % max(self.ndim, 1) + 1
        # Their product, not -1: that would be ambiguous for a tensor without elements.
        middle = math.prod(self.shape[start:end])
        return self.reshape(*self.shape[:start], middle, *self.shape[end:])

    def squeeze(self, dim: int | None = None) -> Tensor:
        """Without the dimensions of length 1, or without ``dim`` if it has that length."""
        dropped = range(self.ndim) if dim is None else (dim % self.ndim,)
        sizes = enumerate(self.shape)
        return self.reshape([n for axis, n in sizes if n != 1 or axis not in dropped])

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new dimension of length 1 at ``dim``."""
        dim %= self.ndim + 1
        return self.reshape(*self.shape[:dim], 1, *self.shape[dim:])

    def permute(self, *dims) -> Tensor:
        """The dimensions in the order ``dims``."""
        return apply(shape.Transpose, self, axes=_unpack(dims))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        dims = list(range(self.ndim))
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
        return self.permute(dims)

    def contiguous(self) -> Tensor:
        """The tensor itself: whoever needs its elements in C order brings them into it."""
        return self

    def expand(self, *sizes) -> Tensor:
        """Dimensions of length 1 repeated to ``sizes``; -1 keeps one, new ones come in front."""
        sizes = _unpack(sizes)
        own = (1,) * (len(sizes) - self.ndim) + self.shape
        sizes = tuple(n if n >= 0 else kept for n, kept in zip(sizes, own, strict=True))
        return apply(shape.Expand, self, sizes=sizes)

    def split(self, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """Parts of ``split_size`` along ``dim``, the last may be smaller; or of the given sizes."""
        dim, length = dim % self.ndim, self.shape[dim]
        if isinstance(split_size, int):
            starts = range(0, length, split_size) or (0,)
            split_size = [min(split_size, length - start) for start in starts]
        if sum(split_size) != length:
            raise ValueError(f"split: the parts {split_size} do not add up to {length} of {dim=}")
        ends = itertools.accumulate(split_size)
        return tuple(
            self[(slice(None),) * dim + (slice(end - size, end),)]
            for size, end in zip(split_size, ends, strict=True)
        )

    def chunk(self, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """``chunks`` parts of one size along ``dim``; the last may be smaller, or missing."""
        return self.split(max(-(-self.shape[dim] // chunks), 1), dim)

    # Reductions over the dimensions ``dim`` (an int, several, or None for all)

    def sum(self, dim=None, keepdim: bool = False) -> Tensor:
        return apply(reduction.Sum, self, dim=dim, keepdim=keepdim)

    def mean(self, dim=None, keepdim: bool = False) -> Tensor:
        return apply(reduction.Mean, self, dim=dim, keepdim=keepdim)

    def max(self, dim=None, keepdim: bool = False) -> Tensor:
        """The largest value; where several are equal, the first gets the gradient."""
        return apply(reduction.Max, self, dim=dim, keepdim=keepdim)

    def min(self, dim=None, keepdim: bool = False) -> Tensor:
        """The smallest value; where several are equal, the first gets the gradient."""
        return apply(reduction.Min, self, dim=dim, keepdim=keepdim)

    amax, amin = max, min

    def prod(self, dim=None, keepdim: bool = False) -> Tensor:
        return apply(reduction.Prod, self, dim=dim, keepdim=keepdim)

    def var(self, dim=None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
        """The variance; ``unbiased`` divides by the number of values less one."""
        return apply(reduction.Var, self, dim=dim, keepdim=keepdim, unbiased=unbiased)

    def std(self, dim=None, unbiased: bool = True, keepdim: bool = False) -> Tensor:
        """The square root of ``var``."""
        return apply(reduction.Std, self, dim=dim, keepdim=keepdim, unbiased=unbiased)


def as_tensor(value) -> Tensor:
    """``value`` itself if it is a Tensor, else a Tensor made from it."""
    return value if isinstance(value, Tensor) else Tensor(value)


def apply(operation_class: type[Operation], *inputs, **options) -> Tensor:
    """Run an operation on tensors and remember it if any of them requires gradients.

    Plain numbers among ``inputs`` take the floating point type of the tensors beside them.
    """
    tensors = _to_tensors(inputs)
    record = getattr(_state, "record", None)
    if record is not None:
        return record(operation_class, tensors, options)
    remember = is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    operation = operation_class()
    operation.needs_grad = tuple(remember and tensor.requires_grad for tensor in tensors)
    output = Tensor(operation.forward(*(tensor.data for tensor in tensors), **options))
    if remember:
        output.requires_grad = True
        output.node = Node(operation, tensors)
    return output


def _to_tensors(inputs: tuple) -> tuple[Tensor, ...]:
    dtype = next(
        (value.dtype for value in inputs if isinstance(value, Tensor) and value.dtype.kind == "f"),
        np.dtype(np.float32),
    )
    return tuple(
        Tensor(np.asarray(value, dtype)) if isinstance(value, int | float) else as_tensor(value)
        for value in inputs
    )


def _unpack(sizes: tuple) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


def _from_output_to_leaves(output: Tensor) -> list[Tensor]:
    """All tensors ``output`` depends on, each after every tensor that was computed from it.

    Depth-first with a stack of our own: Python's would overflow on a graph of 1,000 steps.
    """
    order: list[Tensor] = []
    seen: set[int] = set()
    stack: list[tuple[Tensor, bool]] = [(output, False)]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            if tensor.node is not None:
                if tensor.node.operation is None:
                    raise RuntimeError("backward: this graph was already used and freed")
                inputs = tensor.node.inputs
                stack.extend((source, False) for source in inputs if source.requires_grad)
    return order[::-1]


def _total(gradients: list[np.ndarray | Part], tensor: Tensor) -> np.ndarray:
    """The sum of the gradients that arrived at ``tensor``, none of which is written to."""
    if len(gradients) == 1 and isinstance(gradients[0], np.ndarray):
        return gradients[0]
    if are_tiles(gradients, tensor.shape):
        total = np.empty(tensor.shape, tensor.dtype)
        for part in gradients:
            assign(total[part.index], part.values)
        return total
    total = np.zeros(tensor.shape, tensor.dtype)
    for gradient in gradients:
        if isinstance(gradient, Part):
            total[gradient.index] += gradient.values
        else:
            total += gradient
    return total


def _run_backward(node: Node, grad_output: np.ndarray) -> tuple[np.ndarray | Part | None, ...]:
    """The operation's gradients, brought to the shape and dtype of its inputs."""
    assert node.operation is not None
    gradients = node.operation.backward(grad_output)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    return tuple(
        _fit(gradient, source, node.operation) if source.requires_grad else None
        for source, gradient in zip(node.inputs, gradients, strict=True)
    )


def _fit(
    gradient: np.ndarray | Part | None, source: Tensor, operation: Operation
) -> np.ndarray | Part | None:
    """Undo broadcasting: sum over the dimensions that NumPy repeated to match the other input."""
    if gradient is None or isinstance(gradient, Part):
        return gradient
    if gradient.shape != source.shape:
        extra = gradient.ndim - source.ndim
        repeated = tuple(
            axis
            for axis in range(gradient.ndim)
            if axis < extra or (source.shape[axis - extra] == 1 and gradient.shape[axis] != 1)
        )
        gradient = gradient.sum(axis=repeated, keepdims=True)
        gradient = gradient.reshape(gradient.shape[max(extra, 0) :])
        if gradient.shape != source.shape:
            raise AssertionError(
                f"{type(operation).__name__}.backward returned {gradient.shape} "
                f"for an input of shape {source.shape}"
            )
    return gradient.astype(source.dtype, copy=False)
