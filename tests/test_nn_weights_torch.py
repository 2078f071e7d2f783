"""read_weights on PyTorch's zip files: what torch.save wrote, and what an attacker would."""

from __future__ import annotations

import collections
import io
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.weights import WeightsError, pickle_data, read_weights

# A hand assembler for pickles: every test below says which instructions it writes.
PROTO, STOP = b"\x80\x02", b"."


def integer(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    packed = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(packed)]) + packed


def string(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(module, attribute):
    return b"c" + f"{module}\n{attribute}\n".encode()


def group(*values):
    return b"(" + b"".join(values) + b"t"


def integers(values):
    return group(*(integer(value) for value in values))


def storage(key="0", count=6, kind="FloatStorage", location="cpu"):
    return (
        group(string("storage"), name("torch", kind), string(key), string(location), integer(count))
        + b"Q"
    )


EMPTY_ORDERED_DICT = name("collections", "OrderedDict") + b")R"


def tensor(source=None, offset=0, size=(2, 3), stride=(3, 1)):
    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + group(
            storage() if source is None else source,
            integer(offset),
            integers(size),
            integers(stride),
            b"\x89",
            EMPTY_ORDERED_DICT,
        )
        + b"R"
    )


def state_dict(**tensors):
    return b"}(" + b"".join(string(key) + value for key, value in tensors.items()) + b"u"


VALUES = np.arange(6, dtype="<f4")


def file_of(path, program, members=None, root="archive", compression=zipfile.ZIP_STORED):
    """A PyTorch zip with this pickle and, unless told otherwise, one storage of six floats."""
    members = {"data/0": VALUES.tobytes()} if members is None else members
    with zipfile.ZipFile(path, "w", compression) as file:
        for key, content in {"data.pkl": program, **members, "version": b"3\n"}.items():
            file.writestr(f"{root}/{key}", content)
    return path


def refuse(path, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_written_by_hand_is_read(tmp_path):
    program = PROTO + state_dict(w=tensor(), t=tensor(offset=1, size=(2, 2), stride=(1, 3))) + STOP
    tensors = read_weights(file_of(tmp_path / "x.pth", program))
    np.testing.assert_array_equal(tensors["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["t"], [[1, 4], [2, 5]])
    assert tensors["w"].dtype == np.float32
    tensors["w"][...] = 0  # the arrays do not share memory
    np.testing.assert_array_equal(tensors["t"], [[1, 4], [2, 5]])


def test_files_of_torch_save_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = model.state_dict()
    state["half"] = torch.ones(3).half()
    state["flags"] = torch.tensor([True, False])
    state["double"] = torch.rand(3, dtype=torch.float64)
    state["transposed"] = torch.rand(3, 4).t()
    state["slice"] = torch.rand(5, 6)[1:4, ::2]
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(torch.rand(2))
    state["tied"] = state["0.weight"]
    wrapped = {"epoch": 3, "best": 0.5, "optimizer": {"lr": [0.1, (1, None)]}, "state_dict": state}
    for saved in (state, dict(state), wrapped, {"model": wrapped}):
        torch.save(saved, tmp_path / "x.pth")
        tensors = read_weights(tmp_path / "x.pth")
        assert list(tensors) == list(state)
        for key, value in state.items():
            expected = value.detach().numpy()
            np.testing.assert_array_equal(tensors[key], expected)
            assert tensors[key].dtype == expected.dtype and tensors[key].shape == expected.shape


def test_bfloat16_and_whole_models_are_refused_with_the_way_out(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2).bfloat16()}, tmp_path / "x.pth")
    refuse(tmp_path / "x.pth", "BFloat16Storage.*model.state_dict")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    refuse(tmp_path / "x.pth", "torch.nn.modules.linear.Linear.*code.*model.state_dict")


def test_the_format_before_the_zip_is_refused_with_the_way_out(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "old.pth"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    refuse(path, r"before 1\.6.*weights_only=True\), 'old\.new\.pth'\)")


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
ORDERED_DICT = name("collections", "OrderedDict")

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
    "a list": (b"]", "holds a list"),
    "a number": (integer(3), "holds a int"),
    "a tensor alone": (tensor(), "holds a ndarray"),
    "an empty dict": (b"}", "no tensors"),
    "a dict without tensors": (state_dict(a=integer(3)), "no tensors"),
    "a dict that contains itself": (b"}q\0" + string("model") + b"h\0s", "no tensors"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_programs_are_refused(tmp_path, case):
    program, message = HOSTILE[case]
    refuse(file_of(tmp_path / "x.pth", PROTO + program + STOP), message)


REBUILD = name("torch._utils", "_rebuild_tensor_v2")
PARAMETER = name("torch._utils", "_rebuild_parameter")
FLOATS = name("torch", "FloatStorage")
LEAVES = "overlaps itself or leaves its storage"
MALFORMED = "malformed offset, size or stride"
NO_STORAGE = "something that is not a storage"
NO_TENSOR = "something that is not a tensor"


def persistent(*parts):
    return group(*parts) + b"Q"


TENSORS = {
    "past the end": (tensor(offset=1), LEAVES),
    "far past the end": (tensor(offset=2**70), LEAVES),
    "negative offset": (tensor(offset=-1), MALFORMED),
    "bigger than its storage": (tensor(size=(3, 3)), LEAVES),
    "a size of 2**62": (tensor(size=(2**62, 4), stride=(4, 1)), LEAVES),
    "a size beyond 64 bits": (tensor(size=(2**100,), stride=(1,)), LEAVES),
    "negative size": (tensor(size=(-2, -3)), MALFORMED),
    "negative stride": (tensor(offset=5, size=(6,), stride=(-1,)), MALFORMED),
    "a stride beyond 64 bits": (tensor(size=(2,), stride=(2**100,)), LEAVES),
    "stride 0": (tensor(size=(100_000_000,), stride=(0,)), LEAVES),
    "the same place twice": (tensor(size=(2, 2), stride=(1, 1)), LEAVES),
    "overlapping windows": (tensor(size=(2, 4), stride=(2, 1)), LEAVES),
    "fewer sizes than strides": (tensor(size=(6,)), "1 sizes and 2 strides"),
    "too many dimensions": (tensor(size=(1,) * 40, stride=(1,) * 40), "40 sizes and 40 strides"),
    "impossible empty": (tensor(size=(0, 2**100), stride=(1, 1)), "impossible sizes"),
    "bool as offset": (tensor().replace(integer(0), b"\x89", 1), MALFORMED),
    "list as size": (tensor().replace(integers((2, 3)), b"](K\2K\3e"), MALFORMED),
    "of a tensor": (tensor(source=tensor()), NO_STORAGE),
    "of a string": (tensor(source=string("0")), NO_STORAGE),
    "of a name": (tensor(source=FLOATS), NO_STORAGE),
    "of two arguments": (REBUILD + group(storage(), b"N") + b"R", "2 arguments instead of 6"),
    "parameter of a string": (
        PARAMETER + group(string("a"), b"\x88", EMPTY_ORDERED_DICT) + b"R",
        NO_TENSOR,
    ),
    "parameter of one argument": (PARAMETER + group(tensor()) + b"R", NO_TENSOR),
    "storage that is too small": (tensor(source=storage(count=7)), "it has 24 bytes"),
    "storage that is too large": (tensor(source=storage(count=5)), "it has 24 bytes"),
    "huge storage": (tensor(source=storage(count=2**60)), "it has 24 bytes"),
    "negative storage": (tensor(source=storage(count=-6)), "malformed key or size"),
    "missing storage": (tensor(source=storage(key="1")), "it is missing"),
    "storage by a path": (tensor(source=storage(key="../../../etc/passwd")), "it is missing"),
    "storage that is the pickle": (tensor(source=storage(key="../data.pkl")), "it is missing"),
    "storage of another dtype": (tensor(source=storage(kind="DoubleStorage")), "it has 24 bytes"),
    "storage of no known dtype": (tensor(source=storage(kind="UntypedStorage")), CODE),
    "storage with a function as type": (
        persistent(string("storage"), ORDERED_DICT, string("0"), string("cpu"), integer(6)),
        "no known type",
    ),
    "storage with a number as key": (
        persistent(string("storage"), FLOATS, integer(0), string("cpu"), integer(6)),
        "malformed key or size",
    ),
    "storage id that is a string": (string("storage") + b"Q", "does not describe a storage"),
    "storage id that is short": (persistent(string("storage")), "does not describe a storage"),
    "storage of another kind": (
        persistent(string("module"), FLOATS, string("0"), string("cpu"), integer(6)),
        "does not describe a storage",
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_lie_are_refused(tmp_path, case):
    program, message = TENSORS[case]
    path = file_of(tmp_path / "x.pth", PROTO + state_dict(w=program) + STOP)
    refuse(path, "its pickle is refused: .*" + message)


def test_numbers_are_read_with_their_sign(tmp_path):
    values = [0, 255, -1, -(2**31), 2**31, -(2**31) - 1, 2**70, -(2**70)]
    program = PROTO + b"](" + b"".join(integer(value) for value in values) + b"e" + STOP
    read = pickle_data.read_pickle(program, {}, frozenset(), None)
    assert read == values
    fits = pickle.dumps([3, 300, 70_000, 0.1, -2.5, True, False, None, "é", (), (1,)], 2)
    assert pickle_data.read_pickle(fits, {}, frozenset(), None) == pickle.loads(fits)


def test_sizes_of_one_may_have_any_stride(tmp_path):
    odd = tensor(size=(1, 6, 1), stride=(2**100, 1, 0))
    tensors = read_weights(file_of(tmp_path / "x.pth", PROTO + state_dict(w=odd) + STOP))
    np.testing.assert_array_equal(tensors["w"], VALUES.reshape(1, 6, 1))


def test_a_bool_storage_holds_only_zeros_and_ones(tmp_path):
    flags = tensor(source=storage(kind="BoolStorage"), size=(6,), stride=(1,))
    program = PROTO + state_dict(w=flags) + STOP
    path = file_of(tmp_path / "x.pth", program, {"data/0": b"\0\1\1\0\1\0"})
    np.testing.assert_array_equal(read_weights(path)["w"], [False, True, True, False, True, False])
    refuse(file_of(path, program, {"data/0": b"\0\1\2\0\1\0"}), "other than 0 and 1")


def test_one_storage_used_by_many_tensors_cannot_fill_the_memory(tmp_path):
    count = 2**18  # 1 MiB
    big = tensor(source=storage(count=count), size=(count,), stride=(1,))
    # One storage and tensor description in the memo, called again and again.
    again = REBUILD + b"q\1"
    arguments = big[len(REBUILD) : -1] + b"q\2"
    program = PROTO + b"}(" + string("first") + again + arguments + b"R"
    program += b"".join(string(str(index)) + b"h\1h\2R" for index in range(100)) + b"u" + STOP
    path = file_of(tmp_path / "x.pth", program, {"data/0": bytes(4 * count)})
    refuse(path, "unpack to more than 67108864 bytes")


def test_a_memo_of_doubling_lists_costs_nothing(tmp_path):
    program = PROTO + b"]q\0"
    for index in range(200):
        program += (
            b"](" + b"h" + bytes([index]) + b"h" + bytes([index]) + b"eq" + bytes([index + 1])
        )
    refuse(file_of(tmp_path / "x.pth", program + STOP), "values left on the stack")


def test_deep_nesting_is_no_recursion(tmp_path):
    program = PROTO + b"]" * 100_000 + b"a" * 99_999 + STOP
    refuse(file_of(tmp_path / "x.pth", program), "holds a list")
    program = PROTO + b"}" + string("model") + b")" + b"\x85" * 100_000 + b"s" + STOP
    refuse(file_of(tmp_path / "x.pth", program), "no tensors")


def test_a_huge_pickle_is_refused(tmp_path):
    path = file_of(tmp_path / "x.pth", PROTO + b"N0" * pickle_data.MAX_PROGRAM + STOP)
    refuse(path, "over the cap")


def test_a_missing_pickle_or_storage_and_odd_names_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data/0", b"1234")
    refuse(path, "neither .npz nor PyTorch")
    refuse(file_of(path, PROTO + state_dict(w=tensor()) + STOP, {}), "is missing")
    slip = {"../../evil": b"", "data/0": VALUES.tobytes()}
    refuse(file_of(path, PROTO + state_dict(w=tensor()) + STOP, slip), "outside the archive")


def test_big_endian_files_are_refused(tmp_path):
    members = {"byteorder": b"big", "data/0": VALUES.tobytes()}
    path = file_of(tmp_path / "x.pth", PROTO + state_dict(w=tensor()) + STOP, members)
    refuse(path, "big-endian")


def test_a_compressed_storage_bomb_is_refused(tmp_path):
    path = file_of(
        tmp_path / "x.pth",
        PROTO
        + state_dict(w=tensor(source=storage(count=2**25), size=(2**25,), stride=(1,)))
        + STOP,
        {"data/0": bytes(2**27)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 200_000
    refuse(path, "over the limit")


def test_an_encrypted_member_is_refused(tmp_path):
    path = file_of(tmp_path / "x.pth", PROTO + state_dict(w=tensor()) + STOP)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 8] |= 1
    path.write_bytes(content)
    refuse(path, "encrypted")


def good_file():
    file = io.BytesIO()
    program = PROTO + state_dict(w=tensor(), v=tensor(size=(3,), stride=(2,))) + STOP
    file_of(file, program)
    return file.getvalue(), program


def test_every_truncation_is_refused(tmp_path):
    content, _ = good_file()
    for length in range(len(content)):
        (tmp_path / "x.pth").write_bytes(content[:length])
        refuse(tmp_path / "x.pth", "x.pth: ")


@st.composite
def mutated(draw, content):
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(content) - 1))
        content[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(content)


def read_or_refuse(path):
    try:
        tensors = read_weights(path)
    except WeightsError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in tensors.values())


@settings(max_examples=300, deadline=None)
@given(content=mutated(good_file()[0]))
def test_mutated_files_give_arrays_or_the_typed_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    read_or_refuse(path)


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


def reference_file():
    root = os.environ.get("LIGHTHEAD_WEIGHTS")
    if root is None:
        root = os.path.join(os.path.dirname(__file__), "..", "..", "shared", "weights")
    path = os.path.join(root, "shufflenet_v2_x0_5_imagenet_backbone.pth")
    if not os.path.exists(path):
        pytest.skip(f"no {path}")
    return path


def test_the_reference_backbone_is_read_as_torch_reads_it():
    path = reference_file()
    tensors = read_weights(path)
    assert len(tensors) == 330
    assert sum(array.dtype == np.float32 for array in tensors.values()) == 275
    torch = pytest.importorskip("torch")
    for key, value in torch.load(path, map_location="cpu", weights_only=True).items():
        assert tensors[key].tobytes() == value.numpy().tobytes(), key
