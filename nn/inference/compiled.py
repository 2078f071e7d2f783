"""``nn.inference.compile``: a trained module made ready for use.

    module -> trace -> lower -> plan -> a callable

Each arrow is a file of this folder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.inference.arena import read, write, zeros
from nn.inference.constants import Constants
from nn.inference.network import Network
from nn.inference.plan import Import, Plan, Stretch
from nn.inference.trace import Value, run, trace
from nn.kernels import get_num_threads, one_at_a_time
from nn.kernels.program import interpreter as program
from nn.kernels.program.kinds import addresses
from nn.module import Module
from nn.tensor import Tensor


def compile(  # noqa: A001
    module: Module, input_shape: Sequence[int], like: CompiledModule | None = None
) -> CompiledModule:
    """``module`` in evaluation mode, for inputs of ``input_shape``, as fast as we can make it.

    The weights are copied: training ``module`` further does not change the result, which is the
    module's but for rounding. (Beside an infinity in the input of a 3 x 3 convolution there may be
    a NaN where the module gives an infinity or a number, see ``nn.kernels.winograd``.)

    Args:
        module: takes one tensor and returns a tensor, or a dict or tuple of tensors. What it does
            must not depend on the values of its input, only on its shape.
        input_shape: (N, C, H, W), or whatever the module takes. No size is 0.
        like: compiled before, for another shape. Both work in the same memory, one after the other,
            and have the weights in it once, so a further size takes little more than its table.

    Raises:
        ValueError: the module does not take an input of this shape.
    """
    if min(input_shape, default=1) < 1:
        raise ValueError(f"compile: every size must be at least 1, not {tuple(input_shape)}")
    return CompiledModule(module, input_shape, like)


class Memory:
    """What compiled modules that are alike have together.

    Attributes:
        constants: of all of them.
        arena: where they work, large enough for each, and belongs to one at a time.
    """

    def __init__(self, dtype: np.dtype):
        self.constants, self.arena = Constants(dtype), zeros(0, dtype)

    def make_room(self, size: int) -> None:
        if size > self.arena.size:
            self.arena = zeros(size, self.arena.dtype)


class CompiledModule:
    """A callable: an array of ``input_shape`` in, what the module returns out, as arrays.

    The arrays it returns belong to the caller. Threads may share it: it works in memory of its own,
    so they are served one after the other.
    """

    def __init__(
        self, module: Module, input_shape: Sequence[int], like: CompiledModule | None = None
    ):
        written = trace(module, input_shape)
        self._values, self._structure = written.outputs, written.structure
        self.input_shape, dtype = written.input.shape, written.input.dtype
        is_alike = like is not None and like.plan.dtype == dtype
        self.memory = like.memory if is_alike else Memory(dtype)
        steps = Network(written).steps
        with one_at_a_time:  # nobody else may use or change the memory meanwhile
            self.plan = Plan(written, steps, self.memory.constants)
            self.memory.make_room(self.plan.arena_size)
        self._addresses = addresses(self.plan.table["kind"], dtype)
        self._counters = np.zeros(16, np.int64)

    def __call__(self, input: np.ndarray):
        """
        Raises:
            ValueError: ``input`` has another shape than ``input_shape``.
        """
        return self._structure(self._outputs(input))

    def tensors(self, input: np.ndarray):
        """The same, with tensors where the module returns tensors."""
        return self._structure([Tensor(output) for output in self._outputs(input)])

    def _outputs(self, input: np.ndarray) -> list[np.ndarray]:
        input = np.require(input, self.plan.dtype, ["C", "W"])  # kernels are compiled for those
        if input.shape != self.input_shape:
            raise ValueError(f"compiled for {self.input_shape}, called with {input.shape}")
        arrays: dict[Value, np.ndarray] = {self.plan.input: input}
        with one_at_a_time:
            for stage in self.plan.stages:
                if isinstance(stage, Stretch):
                    self._run(stage, input)
                elif isinstance(stage, Import):
                    write(self.memory.arena, *self.plan.slots[stage.value], arrays[stage.value])
                else:
                    inputs = [self._array(value, arrays) for value in stage.inputs]
                    arrays[stage.output] = run(stage.operation, inputs, stage.options)
            return [self._array(value, arrays) for value in self._values]

    def _run(self, stretch: Stretch, input: np.ndarray) -> None:
        self._counters[:] = 0
        program.run_program(
            self.plan.table[stretch.first : stretch.last], self._addresses, self.plan.places,
            self.memory.constants.array, input.reshape(-1), self.memory.arena,
            self._counters, get_num_threads(), self.plan.scratch,
        )  # fmt: skip

    def _array(self, value: Value | np.ndarray, arrays: dict[Value, np.ndarray]) -> np.ndarray:
        """The array of a value, wherever it is."""
        if not isinstance(value, Value):
            return value
        if value in arrays:
            return arrays[value]
        found = read(self.memory.arena, *self.plan.slots[value], self.plan.images)
        return found.reshape(value.shape).copy()
