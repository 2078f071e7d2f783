"""Is a gradient right? Compare it with differences of the function itself, in float64.

Each input and output is multiplied with random vectors: the check compares the number u . J v
computed backward (through autograd) with the same number computed forward (by moving the input
along v). That costs two evaluations at any size. Summing the outputs instead (u = 1) would miss
errors: a channel shuffle that is wrong in the backward pass has the right sum, and the sum of a
batch norm's outputs has no gradient at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nn.tensor import Tensor


class GradientError(AssertionError):
    """An analytic and a numerical derivative disagree; the message holds both."""


def gradcheck(
    fn: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    directions: int = 3,
    seed: int = 0,
) -> bool:
    """Check the gradients of ``fn`` at ``inputs`` along random directions.

    Args:
        fn: takes the tensors, returns a tensor or several; must compute the same thing each time.
        inputs: float64 tensors; those that require gradients are checked, one by one.
        eps: step of the central difference (f(x + eps v) - f(x - eps v)) / (2 eps).
        atol, rtol: the two derivatives may differ by atol + rtol |numerical|.
        directions: how many random v per input.

    Returns:
        True. Raises GradientError with both derivatives where they disagree, ValueError for
        inputs that are not float64 or where none requires a gradient.
    """
    inputs = list(inputs)
    checked = [index for index, tensor in enumerate(inputs) if tensor.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for index in checked:
        if inputs[index].dtype != np.float64:
            raise ValueError(f"gradcheck: input {index} is {inputs[index].dtype}, not float64")

    rng = np.random.Generator(np.random.Philox(seed))
    outputs = _as_list(fn(*inputs))
    weights = [rng.standard_normal(output.shape) for output in outputs]
    for tensor in inputs:
        tensor.grad = None
    _project(outputs, weights).backward()

    for index in checked:
        tensor = inputs[index]
        gradient = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad
        for _ in range(directions):
            # Unit length per element on average, so eps means the same at any size.
            direction = rng.standard_normal(tensor.shape)
            analytic = float((gradient * direction).sum())
            numerical = _central_difference(fn, inputs, index, direction, weights, eps)
            if not abs(analytic - numerical) <= atol + rtol * abs(numerical):
                raise GradientError(
                    f"input {index} of shape {tensor.shape}: backward gives {analytic:.10g}, "
                    f"differences give {numerical:.10g} (apart by "
                    f"{abs(analytic - numerical):.3g}, allowed {atol + rtol * abs(numerical):.3g})"
                )
        tensor.grad = None
    return True


def _central_difference(fn, inputs, index, direction, weights, eps) -> float:
    tensor, start = inputs[index], inputs[index].data
    values = []
    for sign in (1.0, -1.0):
        tensor.data = start + sign * eps * direction
        values.append(_project(_as_list(fn(*inputs)), weights).item())
    tensor.data = start
    return (values[0] - values[1]) / (2.0 * eps)


def _project(outputs: list[Tensor], weights: list[np.ndarray]) -> Tensor:
    total = Tensor(np.zeros(()))
    for output, weight in zip(outputs, weights, strict=True):
        total = total + (output * weight).sum()
    return total


def _as_list(outputs) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
