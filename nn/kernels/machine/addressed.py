"""Functions that kernels call by their address, so that each is compiled when it is needed.

A kernel holds the machine code of all that it calls, whether it is used or not, and whatever calls
it holds that once more. A function that is called by its address is compiled by itself, once, and
only if somebody asks for the address::

    @addressed
    def double(array):
        array[0] *= 2

    @kernel(twin=...)
    def run(addresses, which, array):
        call(addresses[which], (array,))

    run(np.array([double.address(signature)]), 0, array)

``call`` looks at nothing: the arguments must be of the types that are in ``signature``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from nn.kernels.machine.cache import Callback, callback
from nn.kernels.machine.jit import FLAGS


class Addressed:
    """
    Attributes:
        compiled: what was made of it, by signature; its machine code stays as long as they do.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.function = function
        self.compiled: dict[Signature, Callback] = {}

    def address(self, signature: Signature) -> int:
        """Of the machine code for arguments of these types; it returns nothing."""
        if signature not in self.compiled:
            self.compiled[signature] = callback(self.function, signature, **FLAGS)
        return self.compiled[signature].address


addressed = Addressed


@intrinsic
def call(typing_context, address, arguments):
    """Call what lies at ``address`` with a tuple of arguments."""

    def generate(context, builder, signature, values):
        kinds = [context.get_value_type(kind) for kind in arguments]
        function = ir.FunctionType(context.get_value_type(types.void), kinds)
        pointer = builder.inttoptr(values[0], function.as_pointer())
        builder.call(pointer, cgutils.unpack_tuple(builder, values[1]))
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate
