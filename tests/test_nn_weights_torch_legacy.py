"""read_weights on PyTorch's files of before 1.6, by torch.save and by an attacker."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from torch_files import (
    PROTO,
    STOP,
    VALUES,
    group,
    integer,
    integers,
    mutated,
    name,
    read_or_refuse,
    refuse,
    state_dict,
    string,
    tensor,
)

from nn.weights import read_weights
from nn.weights.torch_legacy import MAGIC

SYSTEM = PROTO + b"}" + string("little_endian") + b"\x88s" + STOP
KEYS = PROTO + b"](" + string("0") + b"e" + STOP
CONTENT = struct.pack("<q", 6) + VALUES.tobytes()


def old_storage(key="0", count=6, kind="FloatStorage", view=b"N"):
    return (
        group(
            string("storage"), name("torch", kind), string(key), string("cpu"), integer(count), view
        )
        + b"Q"
    )


def file_of(program, system=SYSTEM, keys=KEYS, content=CONTENT) -> bytes:
    version = PROTO + integer(1001) + STOP
    return MAGIC + STOP + version + system + PROTO + program + STOP + keys + content


def written(folder, *parts, **options):
    path = folder / "old.pth"
    path.write_bytes(file_of(*parts, **options))
    return path


GOOD = state_dict(w=tensor(old_storage()), t=tensor(old_storage(), 1, (2, 2), (1, 3)))


def test_a_file_written_by_hand_is_read(tmp_path):
    tensors = read_weights(written(tmp_path, GOOD))
    np.testing.assert_array_equal(tensors["w"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["t"], [[1, 4], [2, 5]])


def test_tensors_of_pytorch_before_0_4_and_text_of_python_2_are_read(tmp_path):
    arguments = group(old_storage(), integer(0), integers((6,)), integers((1,)))
    program = b"}U\x01w" + name("torch._utils", "_rebuild_tensor") + arguments + b"Rs"
    np.testing.assert_array_equal(read_weights(written(tmp_path, program))["w"], VALUES)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_what_torch_writes_is_read_as_it_is(tmp_path, kind):
    torch = pytest.importorskip("torch")
    values = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, kind))
    state = {"a": values, "b": values[1].t(), "c": torch.zeros(0, 3), "d": values.flatten()[5]}
    for saved in (state, {"epoch": 3, "state_dict": state}):
        path = tmp_path / "old.pth"
        torch.save(saved, path, _use_new_zipfile_serialization=False)
        found = read_weights(path)
        assert list(found) == list(state)
        for key, value in state.items():
            np.testing.assert_array_equal(found[key], value.numpy())
            assert found[key].dtype == value.numpy().dtype


BAD = {
    "code": ([state_dict(w=name("os", "system") + group(string("true")) + b"R")], {}, "os.system"),
    "a tensor that leaves its storage": (
        [state_dict(w=tensor(old_storage(), 1))], {}, "leaves its storage",
    ),
    "a storage that is not there": (
        [state_dict(w=tensor(old_storage("1")))], {}, "nothing is made of its storage '0'",
    ),
    "two sizes": ([state_dict(w=tensor(old_storage(count=5)))], {}, "5 x float32 expected"),
    "a view of a storage": (
        [state_dict(w=tensor(old_storage(view=group(string("v"), integer(0), integer(1)))))], {},
        "does not describe a storage",
    ),
    "cut off": ([GOOD], {"content": CONTENT[:-1]}, "truncated"),
    "no storages": ([GOOD], {"content": b""}, "truncated"),
    "2^63 elements": ([GOOD], {"content": b"\xff" * 8}, "truncated"),
    "no list of keys": ([GOOD], {"keys": PROTO + string("0") + STOP}, "no list of keys"),
    "the bytes the other way round": (
        [GOOD], {"system": PROTO + b"}" + string("little_endian") + b"\x89s" + STOP}, "big-endian",
    ),
    "storages where none may be": ([GOOD], {"keys": PROTO + string("0") + b"Q" + STOP}, "none yet"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line(tmp_path, case):
    parts, options, message = BAD[case]
    refuse(written(tmp_path, *parts, **options), message)


def test_every_beginning_of_a_file_is_refused(tmp_path):
    whole, path = file_of(GOOD), tmp_path / "part.pth"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        refuse(path, ".")


@settings(max_examples=300, deadline=None)
@given(content=mutated(file_of(GOOD)))
def test_mutated_files_give_arrays_or_the_typed_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    path.write_bytes(content)
    read_or_refuse(path)
