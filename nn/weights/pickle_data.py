"""The data part of the pickle language, and none of the rest.

A pickle is a program for a small stack machine. Most instructions push values or gather them into
lists, tuples and dicts; a few import any function by name and call it, which is how a weight file
becomes a way to run somebody's code. This machine knows the first kind only. The few names that
PyTorch's tensors need are looked up in a table of the caller's, never imported.

Instructions: CPython's ``Lib/pickletools.py``; of protocol 2, which is what ``torch.save`` writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

MAX_PROGRAM = 4 * 2**20  # bytes; a network of 1,000 tensors takes 150 kB

# The instructions admitted: their byte, their name in pickletools and how their argument is
# written: a struct format, "text" (length and UTF-8), "long" (length and two's complement), or
# "lines" (two lines, module and name).
INSTRUCTIONS = {
    b"\x80": ("PROTO", "<B"),
    b"N": ("NONE", ""),
    b"\x88": ("NEWTRUE", ""),
    b"\x89": ("NEWFALSE", ""),
    b"J": ("BININT", "<i"),
    b"K": ("BININT1", "<B"),
    b"M": ("BININT2", "<H"),
    b"\x8a": ("LONG1", "long"),
    b"G": ("BINFLOAT", ">d"),
    b"X": ("BINUNICODE", "text"),
    b"U": ("SHORT_BINSTRING", "short text"),  # of Python 2
    b"]": ("EMPTY_LIST", ""),
    b"}": ("EMPTY_DICT", ""),
    b")": ("EMPTY_TUPLE", ""),
    b"\x85": ("TUPLE1", ""),
    b"\x86": ("TUPLE2", ""),
    b"\x87": ("TUPLE3", ""),
    b"(": ("MARK", ""),
    b"t": ("TUPLE", ""),
    b"a": ("APPEND", ""),
    b"e": ("APPENDS", ""),
    b"s": ("SETITEM", ""),
    b"u": ("SETITEMS", ""),
    b"q": ("BINPUT", "<B"),
    b"r": ("LONG_BINPUT", "<I"),
    b"h": ("BINGET", "<B"),
    b"j": ("LONG_BINGET", "<I"),
    b"c": ("GLOBAL", "lines"),
    b"R": ("REDUCE", ""),
    b"b": ("BUILD", ""),
    b"Q": ("BINPERSID", ""),
    b".": ("STOP", ""),
}


class PickleDataError(ValueError):
    """The pickle is malformed, or wants to do more than describe data."""


class Name(NamedTuple):
    """A global the pickle refers to: a piece of text, not the thing it names."""

    text: str


def read_pickle(
    program: bytes,
    functions: Mapping[str, Callable[[tuple], object]],
    names: frozenset[str],
    load_persistent: Callable[[object], object],
) -> object:
    """Run a pickle that describes data and return what it describes.

    Args:
        functions: by "module name", what stands in for each function the pickle may call; it gets
            the tuple of arguments.
        names: further "module name" texts that may appear, as ``Name``, without being called.
        load_persistent: turns a persistent id (the pickle's reference to data stored elsewhere)
            into the value it stands for.

    Raises:
        PickleDataError: for everything else. Whatever ``functions`` and ``load_persistent`` raise.
    """
    if len(program) > MAX_PROGRAM:
        raise PickleDataError(f"a pickle of {len(program)} bytes is over the cap of {MAX_PROGRAM}")
    machine = _Machine(functions, names, load_persistent)
    for instruction, argument, end in _instructions(program, 0):
        machine.step(instruction, argument)
        if instruction == "STOP" and end != len(program):
            raise PickleDataError(f"{len(program) - end} bytes follow its end")
    return machine.result()


def end_of_pickle(content: bytes, start: int) -> int:
    """Where the pickle ends that begins at ``start``: the place behind its STOP.

    Raises:
        PickleDataError: it has other instructions than those that describe data, or no end.
    """
    for _, _, position in _instructions(content, start):
        if position - start > MAX_PROGRAM:
            raise PickleDataError(f"a pickle is over the cap of {MAX_PROGRAM} bytes")
    return position


def _instructions(program: bytes, position: int) -> Iterator[tuple[str, object, int]]:
    """Each instruction's name, its argument, and where it ends, up to STOP."""
    instruction = ""

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        if position > len(program):
            raise PickleDataError("it ends in the middle of an instruction")
        return program[position - count : position]

    def line() -> str:
        end = program.find(b"\n", position)
        return take(end + 1 - position if end >= 0 else len(program))[:-1].decode()

    while instruction != "STOP":
        code = take(1)
        if code not in INSTRUCTIONS:
            raise PickleDataError(f"its instruction {code!r} is not one that describes data")
        instruction, kind = INSTRUCTIONS[code]
        try:
            match kind:
                case "":
                    argument = None
                case "text":
                    argument = take(int.from_bytes(take(4), "little")).decode()
                case "short text":
                    argument = take(take(1)[0]).decode()
                case "long":
                    argument = int.from_bytes(take(take(1)[0]), "little", signed=True)
                case "lines":
                    argument = f"{line()} {line()}"
                case _:
                    (argument,) = struct.unpack(kind, take(struct.calcsize(kind)))
        except UnicodeDecodeError:
            raise PickleDataError("it holds text that is not UTF-8") from None
        yield instruction, argument, position


class _Machine:
    """The stack machine: values, where each open group of values began, and remembered values."""

    def __init__(self, functions, names, load_persistent):
        self.functions, self.names, self.load_persistent = functions, names, load_persistent
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def step(self, instruction: str, argument) -> None:
        match instruction:
            case "PROTO":
                if argument > 2:
                    raise PickleDataError(f"pickle protocol {argument}; torch.save writes 2")
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE":
                self.stack.append(True)
            case "NEWFALSE":
                self.stack.append(False)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINSTRING":
                self.stack.append(argument)
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self.pop(int(instruction[-1]))))
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE":
                self.stack.append(tuple(self.pop_group()))
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS":
                self.extend(self.pop_group())
            case "SETITEM":
                self.update(self.pop(2))
            case "SETITEMS":
                self.update(self.pop_group())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top(object)
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise PickleDataError(f"memo {argument} is used before it is set")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                if argument not in self.functions and argument not in self.names:
                    raise PickleDataError(
                        f"it refers to {argument.replace(' ', '.')[:200]!r}, which is code"
                    )
                self.stack.append(Name(argument))
            case "REDUCE":
                self.call(*self.pop(2))
            case "BUILD":
                # PyTorch hangs version notes on the dict of a state_dict; we have no use for them.
                (state,) = self.pop(1)
                if type(state) is not dict or type(self.top(dict)) is not dict:
                    raise PickleDataError("it sets the inside of something that is not a dict")
            case "BINPERSID":
                self.stack.append(self.load_persistent(*self.pop(1)))
            case "STOP":
                pass

    def result(self):
        if len(self.stack) != 1 or self.marks:
            raise PickleDataError("it ends with values left on the stack")
        return self.stack[0]

    def pop(self, count: int) -> list:
        """The last ``count`` values; those before the innermost open group are out of reach."""
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise PickleDataError("it takes more values from the stack than there are")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_group(self) -> list:
        if not self.marks:
            raise PickleDataError("it closes a group that was not opened")
        values = self.stack[self.marks[-1] :]
        del self.stack[self.marks.pop() :]
        return values

    def top(self, kind: type):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise PickleDataError("it uses the top of an empty stack")
        if not isinstance(self.stack[-1], kind):
            raise PickleDataError(f"it treats something else as a {kind.__name__}")
        return self.stack[-1]

    def extend(self, values: list) -> None:
        self.top(list).extend(values)

    def update(self, values: list) -> None:
        target = self.top(dict)
        keys = values[::2]
        if len(values) % 2 or not all(isinstance(key, str | int) for key in keys):
            raise PickleDataError("dict keys must be strings or integers, each with a value")
        target.update(zip(keys, values[1::2], strict=True))

    def call(self, function, arguments) -> None:
        if not isinstance(function, Name) or function.text not in self.functions:
            raise PickleDataError("it calls something that is not a known tensor function")
        if type(arguments) is not tuple:
            raise PickleDataError(f"the arguments of {function.text!r} are not a tuple")
        self.stack.append(self.functions[function.text](arguments))
