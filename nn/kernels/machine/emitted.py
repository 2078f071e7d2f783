"""Functions that are written in LLVM's instructions and called from kernels like any other::

    @emitted
    def copy(builder, source, target, count):
        with loop(count) as i:
            target[i] = source[i]

The body runs once, when a kernel that calls it is compiled. It computes nothing; it writes down
what the processor will do: ``target[i] = source[i]`` emits a load and a store.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INT = ir.IntType(64)


class Index:
    """An integer of the emitted code. Its operators emit an instruction, and take Python's too.

    ``//`` rounds towards 0. A comparison is a bit to select or to branch by.
    """

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def __add__(self, other):
        return Index(self.builder, self.builder.add(self.value, value_of(other)))

    def __sub__(self, other):
        return Index(self.builder, self.builder.sub(self.value, value_of(other)))

    def __mul__(self, other):
        return Index(self.builder, self.builder.mul(self.value, value_of(other)))

    def __floordiv__(self, other):
        return Index(self.builder, self.builder.sdiv(self.value, value_of(other)))

    def __neg__(self):
        return Index(self.builder, self.builder.neg(self.value))

    def __lt__(self, other):
        return self.builder.icmp_signed("<", self.value, value_of(other))

    def __le__(self, other):
        return self.builder.icmp_signed("<=", self.value, value_of(other))

    def __gt__(self, other):
        return self.builder.icmp_signed(">", self.value, value_of(other))

    def __ge__(self, other):
        return self.builder.icmp_signed(">=", self.value, value_of(other))

    def __eq__(self, other):
        return self.builder.icmp_signed("==", self.value, value_of(other))

    def __ne__(self, other):
        return self.builder.icmp_signed("!=", self.value, value_of(other))

    def where(self, condition, other):
        """This number if ``condition``, else the other one."""
        value = self.builder.select(condition, self.value, value_of(other))
        return Index(self.builder, value)


def value_of(number: Index | int) -> ir.Value:
    return ir.Constant(INT, number) if isinstance(number, int) else number.value


class Flat:
    """A flat array of the emitted code, without its length; ``element`` is the type of a number."""

    def __init__(self, builder, pointer):
        self.builder, self.pointer, self.element = builder, pointer, pointer.type.pointee

    def at(self, index):
        """The same array from ``index`` on."""
        return Flat(self.builder, self.builder.gep(self.pointer, [value_of(index)]))

    def where(self, condition, other):
        """This array if ``condition``, else the other one."""
        return Flat(self.builder, self.builder.select(condition, self.pointer, other.pointer))

    def __getitem__(self, index):
        value = self.builder.load(self.at(index).pointer)
        return Index(self.builder, value) if self.element == INT else value

    def __setitem__(self, index, value):
        self.builder.store(value, self.at(index).pointer)


class Variable:
    """A value of the emitted code that changes; the compiler keeps it in a register if it can."""

    def __init__(self, builder, start: ir.Value):
        self.builder, self.place = builder, cgutils.alloca_once_value(builder, start)

    def get(self):
        return self.builder.load(self.place)

    def set(self, value):
        self.builder.store(value, self.place)


def emitted(define: Callable, apart: bool = False) -> Callable:
    """Decorator: ``define(builder, *arguments)`` as a function of kernels.

    Flat arrays arrive as ``Flat``, integers and bools as ``Index``; floats as numbers of the first
    array's type, and a tuple of floats as a list of them. To the kernel it returns the ``Index``
    that ``define`` returns, else 0.

    It takes the place of every call; with ``apart`` it is a function that all calls in a kernel
    share: what is long is compiled once. Its arrays arrive as addresses, so nobody counts them.
    """

    def typed(typing_context, *kinds):
        number = next((kind.dtype for kind in kinds if isinstance(kind, types.Array)), None)

        def argument(context, builder, kind, value):
            if isinstance(kind, types.Array):
                return Flat(builder, context.make_array(kind)(context, builder, value).data)
            if isinstance(kind, types.Float):
                return context.cast(builder, value, kind, number)
            if isinstance(kind, types.BaseTuple):
                parts = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
                return [argument(context, builder, *part) for part in parts]
            return Index(builder, value)

        def generate(context, builder, signature, values):
            pairs = zip(signature.args, values, strict=True)
            arguments = [argument(context, builder, *pair) for pair in pairs]
            if apart:
                return call_apart(define, builder, arguments)
            result = define(builder, *arguments)
            return value_of(0 if result is None else result)

        as_given = types.Array | types.Float | types.BaseTuple
        given = [kind if isinstance(kind, as_given) else types.intp for kind in kinds]
        return types.intp(*given), generate

    functools.update_wrapper(typed, define)
    # For error messages that name the arguments; the first is Numba's in the place of the builder.
    typed.__signature__ = inspect.signature(define)
    return intrinsic(typed)


emitted_apart = functools.partial(emitted, apart=True)


def call_apart(define: Callable, builder, arguments: list) -> ir.Value:
    """Call the function that ``define`` emits, of the module's own; emit it if it is the first."""
    values = [
        part.pointer if isinstance(part, Flat) else part.value if isinstance(part, Index) else part
        for part in arguments
    ]
    kind = ir.FunctionType(INT, [value.type for value in values])
    name = ".".join([define.__name__, *(str(value.type) for value in values)])
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block("entry"))
        given = [
            type(part)(inside, value) if isinstance(part, Flat | Index) else value
            for part, value in zip(arguments, function.args, strict=True)
        ]
        define(inside, *given)
        inside.ret(value_of(0))
    return builder.call(function, values)
