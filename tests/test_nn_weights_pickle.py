"""The pickle inside a PyTorch file: programs that do more than describe data are refused."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import (
    ORDERED_DICT,
    PROTO,
    STOP,
    file_of,
    good_file,
    group,
    integer,
    mutated,
    name,
    read_or_refuse,
    refuse,
    state_dict,
    storage,
    string,
    tensor,
)

from nn.weights import pickle_data


class Run:
    """What a malicious pickle is made of: unpickling it would create a file."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, exec, getattr, __import__, collections.Counter])
@pytest.mark.parametrize("where", ["top", "value", "key"])
def test_calls_are_refused_and_not_made(tmp_path, function, where):
    proof = tmp_path / "proof"
    run = Run(function, f"open({str(proof)!r}, 'w')" if function is exec else f"touch {proof}")
    value = {"top": run, "value": {"w": run}, "key": {run: 1}}[where]
    refuse(file_of(tmp_path / "x.pth", pickle.dumps(value, 2)), "which is code")
    assert not proof.exists()


CODE = "which is code"
NOT_DATA = "is not one that describes data"
UNKNOWN_CALL = "calls something that is not a known tensor function"
NOT_A_DICT = "sets the inside of something that is not a dict"

HOSTILE = {
    "GLOBAL of os.system": (name("os", "system"), CODE),
    "GLOBAL below a known name": (name("torch._utils", "_rebuild_tensor_v2.__globals__"), CODE),
    "GLOBAL with a space in the module": (name("torch._utils _rebuild_tensor_v2", ""), CODE),
    "GLOBAL without an end": (b"cos", "ends in the middle"),
    "STACK_GLOBAL": (string("os") + string("system") + b"\x93", NOT_DATA),
    "INST": (b"(" + string("true") + b"ios\nsystem\n", NOT_DATA),
    "OBJ": (b"(" + ORDERED_DICT + b"o", NOT_DATA),
    "NEWOBJ": (ORDERED_DICT + b")\x81", NOT_DATA),
    "EXT1": (b"\x82\x01", NOT_DATA),
    "PERSID": (b"Pstorage\n", NOT_DATA),
    "POP": (b"NN0", NOT_DATA),
    "DUP": (b"N2", NOT_DATA),
    "bytes": (b"C\x01a", NOT_DATA),
    "a frame": (b"\x95" + struct.pack("<Q", 2**60), NOT_DATA),
    "8-byte length": (b"\x8e" + struct.pack("<Q", 2**62) + b"a", NOT_DATA),
    "an unknown instruction": (b"\xff", NOT_DATA),
    "REDUCE of a storage type": (name("torch", "FloatStorage") + b")R", UNKNOWN_CALL),
    "REDUCE of a string": (string("os.system") + b")R", UNKNOWN_CALL),
    "REDUCE of a dict": (b"})R", UNKNOWN_CALL),
    "REDUCE with a list": (ORDERED_DICT + b"]R", "are not a tuple"),
    "OrderedDict with arguments": (ORDERED_DICT + group(b"]") + b"R", "made with arguments"),
    "BUILD on a list": (b"]}b", "as a dict"),
    "BUILD on a name": (ORDERED_DICT + b"}b", "as a dict"),
    "BUILD on a tensor": (tensor() + b"}b", "as a dict"),
    "BUILD with a list": (b"}]b", NOT_A_DICT),
    "BUILD with nothing below": (b"}b", "empty stack"),
    "nothing at all": (b"", "values left on the stack"),
    "two values": (b"}}", "values left on the stack"),
    "a group left open": (b"}(", "values left on the stack"),
    "a pop from nothing": (b"\x85", "more values from the stack"),
    "a pop through a mark": (b"N(N\x86", "more values from the stack"),
    "a group that was not opened": (b"Nt", "not opened"),
    "APPEND to a dict": (b"}Na", "as a list"),
    "APPEND to a tuple": (b")Na", "as a list"),
    "APPENDS to nothing": (b"(e", "empty stack"),
    "SETITEMS on a list": (b"](" + string("a") + b"Nu", "as a dict"),
    "SETITEMS of an odd number": (b"}(" + string("a") + b"u", "dict keys"),
    "SETITEM with a list as key": (b"}]Ns", "dict keys"),
    "SETITEM with a tensor as key": (b"}" + tensor() + b"Ns", "dict keys"),
    "SETITEM through a mark": (b"}" + string("a") + b"(Ns", "more values from the stack"),
    "memo that was not set": (b"h\x05", "before it is set"),
    "memo of nothing": (b"q\x00", "empty stack"),
    "protocol 5": (b"\x80\x05}", "pickle protocol 5"),
    "a string longer than the file": (
        b"X" + struct.pack("<I", 2**32 - 1) + b"a",
        "ends in the middle",
    ),
    "text that is no UTF-8": (b"X" + struct.pack("<I", 1) + b"\xff", "not UTF-8"),
    "a second pickle": (b"}." + name("os", "system") + b")R", "bytes follow its end"),
    "a list": (b"]", "of type list"),
    "a number": (integer(3), "of type int"),
    "a tensor alone": (tensor(), "of type ndarray"),
    "an empty dict": (b"}", "no tensors"),
    "a dict without tensors": (state_dict(a=integer(3)), "no tensors"),
    "a dict that contains itself": (b"}q\0" + string("model") + b"h\0s", "no tensors"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_programs_are_refused(tmp_path, case):
    program, message = HOSTILE[case]
    refuse(file_of(tmp_path / "x.pth", PROTO + program + STOP), message)


def test_numbers_are_read_with_their_sign(tmp_path):
    values = [0, 255, -1, -(2**31), 2**31, -(2**31) - 1, 2**70, -(2**70)]
    program = PROTO + b"](" + b"".join(integer(value) for value in values) + b"e" + STOP
    read = pickle_data.read_pickle(program, {}, frozenset(), None)
    assert read == values
    fits = pickle.dumps([3, 300, 70_000, 0.1, -2.5, True, False, None, "é", (), (1,)], 2)
    assert pickle_data.read_pickle(fits, {}, frozenset(), None) == pickle.loads(fits)


def test_a_memo_of_doubling_lists_costs_nothing(tmp_path):
    program = PROTO + b"]q\0"
    for index in range(200):
        program += (
            b"](" + b"h" + bytes([index]) + b"h" + bytes([index]) + b"eq" + bytes([index + 1])
        )
    refuse(file_of(tmp_path / "x.pth", program + STOP), "values left on the stack")


def test_deep_nesting_is_no_recursion(tmp_path):
    program = PROTO + b"]" * 100_000 + b"a" * 99_999 + STOP
    refuse(file_of(tmp_path / "x.pth", program), "of type list")
    program = PROTO + b"}" + string("model") + b")" + b"\x85" * 100_000 + b"s" + STOP
    refuse(file_of(tmp_path / "x.pth", program), "no tensors")


def test_a_huge_pickle_is_refused(tmp_path):
    path = file_of(tmp_path / "x.pth", PROTO + b"N0" * pickle_data.MAX_PROGRAM + STOP)
    refuse(path, "over the cap")


@settings(max_examples=500, deadline=None)
@given(program=mutated(good_file()[1]))
def test_mutated_pickles_give_arrays_or_the_typed_error(tmp_path_factory, program):
    read_or_refuse(file_of(tmp_path_factory.getbasetemp() / "mutated_pickle.pth", program))


CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
FRAGMENTS = [*CODES, integer(0), integer(2**70), string("a"), storage(), tensor(), b"h\0", b"q\0"]


@settings(max_examples=500, deadline=None)
@given(parts=st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=30))
def test_random_programs_give_arrays_or_the_typed_error(tmp_path_factory, parts):
    program = PROTO + b"".join(parts) + STOP
    read_or_refuse(file_of(tmp_path_factory.getbasetemp() / "random.pth", program))
