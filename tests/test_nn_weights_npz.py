"""read_weights on .npz files: what NumPy wrote, and what nobody should have written."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.weights import WeightsError, archive, read_weights

RNG = np.random.default_rng(0)
TENSORS = {
    "stage2.0.weight": RNG.standard_normal((4, 3, 2)).astype(np.float32),
    "fortran": np.asfortranarray(RNG.standard_normal((3, 4))),
    "big_endian": np.arange(5, dtype=">i4"),
    "count": np.array(3),
    "flags": np.array([True, False]),
    "half": np.ones((2, 2), np.float16),
    "empty": np.zeros((0, 7), np.float32),
}


def npy(array=None, *, header=None, data=b"", version=b"\1\0", magic=b"\x93NUMPY"):
    """The bytes of a .npy file: NumPy's own, or put together from the parts given."""
    if header is None:
        file = io.BytesIO()
        np.lib.format.write_array(file, array)
        return file.getvalue()
    header = header.encode() if isinstance(header, str) else header
    return magic + version + len(header).to_bytes(2, "little") + header + data


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def text(descr="'<f4'", fortran_order="False", shape="(1,)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}}}"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saved_is_read_with_names_order_dtypes_and_values(tmp_path, save):
    path = tmp_path / "weights.npz"
    save(path, **TENSORS)
    tensors = read_weights(path)
    assert list(tensors) == list(TENSORS)
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].shape == array.shape
        assert tensors[name].dtype == array.dtype.newbyteorder("=")
        assert tensors[name].flags.c_contiguous and tensors[name].flags.writeable


DTYPE = "is not a number or a bool"
FILL = "does not fill"
MALFORMED = "malformed shape"

HOSTILE = {
    "object array, a pickle": (npy(np.array([{"a": 1}], object)), DTYPE),
    "text": (npy(np.array(["text"])), DTYPE),
    "complex": (npy(np.zeros(2, np.complex128)), DTYPE),
    "structured": (npy(np.zeros(2, [("a", "f4")])), DTYPE),
    "dates": (npy(np.zeros(2, "M8[s]")), DTYPE),
    "subarray dtype": (npy(header=text(descr="('<f4', (1000000,))"), data=b"1234"), DTYPE),
    "wrong magic": (npy(header=text(), data=b"1234", magic=b"\x94NUMPY"), "version"),
    "version 9": (npy(header=text(), data=b"1234", version=b"\x09\0"), "version"),
    "nothing": (b"", "version"),
    "magic only": (b"\x93NUMPY\1\0", "header length"),
    "header longer than the file": (npy(header=text())[:-3], "header length"),
    "header over the cap": (npy(header=text() + " " * 10_000, data=b"1234"), "header length"),
    "code in the header": (
        npy(header=text(shape="__import__('os').system('true')"), data=b"1234"),
        "not a Python literal",
    ),
    "nested header": (npy(header="(" * 5000, data=b"1234"), "not a Python literal"),
    "list of everything": (npy(header="[1, 2]", data=b"1234"), "needs exactly"),
    "one key more": (npy(header=text()[:-1] + ", 'x': 1}", data=b"1234"), "needs exactly"),
    "huge shape": (npy(header=text(shape=f"({2**62},)"), data=b"1234"), FILL),
    "shape whose product overflows to the right size": (
        npy(header=text(shape=f"({2**62 + 1}, 4)"), data=bytes(16)),
        FILL,
    ),
    "sizes beyond 64 bits beside a 0": (npy(header=text(shape=f"(0, {2**80})")), "impossible"),
    "negative size": (npy(header=text(shape="(-1,)"), data=b"1234"), MALFORMED),
    "two negative sizes": (npy(header=text(shape="(-1, -1)"), data=b"1234"), MALFORMED),
    "bool in the shape": (npy(header=text(shape="(True,)"), data=b"1234"), MALFORMED),
    "shape that is a number": (npy(header=text(shape="1"), data=b"1234"), MALFORMED),
    "rank bomb": (npy(header=text(shape="(" + "1," * 40 + ")"), data=b"1234"), "40 dimensions"),
    "fortran_order that is a number": (
        npy(header=text(fortran_order="1"), data=b"1234"),
        "neither True nor False",
    ),
    "too little data": (npy(header=text(shape="(2,)"), data=b"1234"), FILL),
    "too much data": (npy(header=text(), data=b"12345"), FILL),
    "bool that is neither": (npy(header=text(descr="'|b1'"), data=b"\2"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused_by_file_and_member(tmp_path, case):
    content, message = HOSTILE[case]
    path = zip_of(tmp_path / "hostile.npz", [("fine.npy", npy(np.ones(2))), ("x.npy", content)])
    with pytest.raises(WeightsError, match=rf"hostile\.npz: member 'x\.npy': .*{message}"):
        read_weights(path)


@pytest.mark.parametrize(
    "name", ["../x.npy", "a/../../x.npy", "/x.npy", "..\\x.npy", "C:/x.npy", "C:\\x.npy"]
)
def test_names_that_climb_out_are_refused(tmp_path, name):
    path = zip_of(tmp_path / "slip.npz", [(name, npy(np.ones(2)))])
    with pytest.raises(WeightsError, match="outside the archive"):
        read_weights(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    path = zip_of(tmp_path / "twice.npz", [("x.npy", npy(np.ones(2)))] * 2)
    with pytest.raises(WeightsError, match="two members are called 'x.npy'"):
        read_weights(path)


def test_a_compressed_bomb_is_refused_unopened(tmp_path, monkeypatch):
    zeros = npy(np.zeros(archive.FREE_BYTES // 4 + 1, np.float32))
    path = zip_of(tmp_path / "bomb.npz", [("x.npy", zeros)], zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(archive.Archive, "read", None)
    with pytest.raises(WeightsError, match="over the limit of 67108864"):
        read_weights(path)


def test_many_small_members_add_up_to_a_bomb(tmp_path):
    zeros = npy(np.zeros(2**20, np.uint8))
    members = [(f"{index}.npy", zeros) for index in range(65)]
    path = zip_of(tmp_path / "bomb.npz", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="over the limit"):
        read_weights(path)


def announce(path, true, false):
    """Write another unpacked size into a zip, wherever the true one stands."""
    true, false = struct.pack("<I", true), struct.pack("<I", false)
    content = path.read_bytes()
    assert true in content
    path.write_bytes(content.replace(true, false))


def test_a_bomb_that_lies_about_its_size_stops_at_the_size_it_announced(tmp_path):
    path = zip_of(tmp_path / "x.npz", [("x.npy", bytes(10_000_000))], zipfile.ZIP_DEFLATED)
    announce(path, 10_000_000, 100)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=r"x\.npz: member 'x\.npy'"):
        read_weights(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_member_that_unpacks_to_less_than_it_announced_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.npz", [("x.npy", bytes(10_000_000))], zipfile.ZIP_DEFLATED)
    announce(path, 10_000_000, 10_000_001)
    with pytest.raises(WeightsError, match="truncated: 10000000 of 10000001 bytes"):
        read_weights(path)


def test_a_stored_member_larger_than_the_file_is_refused(tmp_path):
    content = npy(np.ones(100))
    path = zip_of(tmp_path / "x.npz", [("x.npy", content)])
    announce(path, len(content), 2**31)
    with pytest.raises(WeightsError, match="announces 2147483648 bytes, stored as 2147483648"):
        read_weights(path)


def test_a_stored_member_that_announces_two_sizes_is_refused(tmp_path):
    path = zip_of(tmp_path / "x.npz", [("x.npy", npy(np.ones(100)))])
    content = bytearray(path.read_bytes())
    size_field = content.index(b"PK\1\2") + 24
    content[size_field : size_field + 4] = struct.pack("<I", 2**20)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="announces 1048576 bytes, stored as 928"):
        read_weights(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, compression):
    path = zip_of(tmp_path / "x.npz", [("x.npy", npy(np.ones(100)))], compression)
    with pytest.raises(WeightsError, match="compressed in an unknown way"):
        read_weights(path)


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path):
    path = zip_of(tmp_path / "x.npz", [("x.npy", npy(np.ones(100, np.float32)))])
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="CRC"):
        read_weights(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_tensor(tmp_path, value):
    np.savez(tmp_path / "x.npz", good=np.ones(2), bad=np.array([0, value], np.float32))
    with pytest.raises(WeightsError, match="tensor 'bad' holds NaN or infinity"):
        read_weights(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not an .npz"),
        (b"PK", "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not an .npz"),
        (b"\x80\x04\x95" + bytes(100), "not an .npz"),
        (bytes(100), "not an .npz"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"x\.npz: .*{message}"):
        read_weights(tmp_path / "x.npz")


def test_an_archive_without_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "none.npz")
    with pytest.raises(WeightsError, match="no tensors"):
        read_weights(tmp_path / "none.npz")
    zip_of(tmp_path / "other.npz", [("readme.txt", b"hello")])
    with pytest.raises(WeightsError, match="'readme.txt'"):
        read_weights(tmp_path / "other.npz")


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "absent.npz")


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.arange(5), b=np.ones(3))
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError):
            read_weights(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutations_give_arrays_or_the_typed_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(path, **TENSORS)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4)
        )
    path.write_bytes(content)
    try:
        tensors = read_weights(path)
    except WeightsError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in tensors.values())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutations_inside_a_member_give_arrays_or_the_typed_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "inside.npz"
    content = bytearray(npy(TENSORS["stage2.0.weight"]))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 127))
        content[position : position + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2)
        )
    zip_of(path, [("x.npy", bytes(content))])
    try:
        read_weights(path)
    except WeightsError as error:
        assert str(path) in str(error)
