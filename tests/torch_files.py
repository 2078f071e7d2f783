"""PyTorch weight files put together by hand, instruction by instruction; for the tests."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import strategies as st

from nn.weights import WeightsError, read_weights

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


ORDERED_DICT = name("collections", "OrderedDict")
EMPTY_ORDERED_DICT = ORDERED_DICT + b")R"


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


def read_or_refuse(path):
    try:
        tensors = read_weights(path)
    except WeightsError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in tensors.values())


def good_file():
    file = io.BytesIO()
    program = PROTO + state_dict(w=tensor(), v=tensor(size=(3,), stride=(2,))) + STOP
    file_of(file, program)
    return file.getvalue(), program


@st.composite
def mutated(draw, content):
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(content) - 1))
        content[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(content)
