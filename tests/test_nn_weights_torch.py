"""read_weights on PyTorch's zip files: what torch.save wrote, and what an attacker would."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from torch_files import (
    EMPTY_ORDERED_DICT,
    ORDERED_DICT,
    PROTO,
    STOP,
    VALUES,
    file_of,
    good_file,
    group,
    integer,
    integers,
    mutated,
    name,
    read_or_refuse,
    refuse,
    state_dict,
    storage,
    string,
    tensor,
)

from nn.weights import read_weights


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
    refuse(tmp_path / "x.pth", "BFloat16Storage.*model.state_dict.*after model.float()")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    refuse(tmp_path / "x.pth", "torch.nn.modules.linear.Linear.*code.*model.state_dict")


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
    "storage of no known dtype": (tensor(source=storage(kind="UntypedStorage")), "is code"),
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


def test_every_truncation_is_refused(tmp_path):
    content, _ = good_file()
    for length in range(len(content)):
        (tmp_path / "x.pth").write_bytes(content[:length])
        refuse(tmp_path / "x.pth", "x.pth: ")


@settings(max_examples=300, deadline=None)
@given(content=mutated(good_file()[0]))
def test_mutated_files_give_arrays_or_the_typed_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    read_or_refuse(path)


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
