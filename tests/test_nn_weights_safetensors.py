"""The safetensors reader and writer: round trips, hostile files, writes that fail half-way."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nn.files import atomic_file, remove_leftovers
from nn.weights import read_weights, safetensors
from nn.weights.errors import WeightsError

RNG = np.random.default_rng(0)
TENSORS = {
    "flags": np.array([True, False, True]),
    "weight": RNG.standard_normal((3, 4)).astype(np.float32),
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 5), np.float16),
    "precise": RNG.standard_normal(5),
    "bytes": np.arange(7, dtype=np.uint8),
}


def assert_same(actual, expected):
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        assert actual[name].shape == array.shape, name
        assert actual[name].tobytes() == array.tobytes(), name


def file_of(path, header, data=b"", pad=0):
    """A file with exactly this header (an object, or raw bytes) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data + b"\0" * pad)
    return path


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_round_trip_keeps_names_order_dtypes_shapes_bits_and_metadata(tmp_path):
    path = tmp_path / "file.safetensors"
    metadata = {"format": "lighthead", "naïve": '\u2713 \n"'}
    safetensors.write(path, TENSORS, metadata)
    tensors, read_metadata = safetensors.read(path)
    assert_same(tensors, TENSORS)
    assert read_metadata == metadata
    tensors["weight"][0] = 0  # the arrays are the caller's own
    assert os.listdir(tmp_path) == ["file.safetensors"]


def test_nothing_at_all_round_trips(tmp_path):
    safetensors.write(tmp_path / "file", {})
    assert safetensors.read(tmp_path / "file") == ({}, {})


@settings(max_examples=50, deadline=None)
@given(
    arrays=st.dictionaries(
        st.text().filter(lambda name: name != "__metadata__"),
        st.sampled_from(list(safetensors.CODES)).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
        ),
        max_size=5,
    )
)
def test_any_arrays_round_trip(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    safetensors.write(path, arrays)
    assert_same(safetensors.read(path)[0], arrays)


def test_strided_and_big_endian_arrays_are_stored_by_value(tmp_path):
    values = np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2]
    safetensors.write(tmp_path / "file", {"x": values})
    x = safetensors.read(tmp_path / "file")[0]["x"]
    np.testing.assert_array_equal(x, [[0, 2], [4, 6], [8, 10]])
    assert x.dtype == np.float32 and x.dtype.isnative


def test_the_package_reads_what_we_write_and_the_other_way_round(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    safetensors.write(ours, TENSORS, {"a": "b"})
    loaded = package.load_file(ours)
    assert_same({name: loaded[name] for name in TENSORS}, TENSORS)
    package.save_file(TENSORS, theirs, {"a": "b"})
    tensors, metadata = safetensors.read(theirs)
    assert_same({name: tensors[name] for name in TENSORS}, TENSORS)
    assert metadata == {"a": "b"}


JSON = "not the expected JSON"
KEYS = "needs exactly the keys"
DTYPE = "has dtype"
SHAPE = "malformed shape"
OFFSETS = "malformed data_offsets"
FILL = "does not fill"

HOSTILE = {
    "header that is a list": (b"[]", b"", "not a JSON object"),
    "header that is not JSON": (b"{'a': 1}", b"", JSON),
    "header of another encoding": ('{"é": 1}'.encode("latin-1"), b"", JSON),
    "header in UTF-16": ("{}".encode("utf-16"), b"", JSON),
    "header after a space": (b" {}", b"", "not a JSON object"),
    "two headers": (b"{}{}", b"", JSON),
    "nesting bomb": (b'{"a":' * 100_000, b"", JSON),
    "number bomb": (b'{"a":' + b"9" * 100_000 + b"}", b"", ""),
    "NaN": (b'{"__metadata__": {"a": NaN}}', b"", "NaN is not JSON"),
    "duplicate name": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
        "occurs twice",
    ),
    "duplicate key inside": (
        b'{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
        "occurs twice",
    ),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", "must map strings"),
    "metadata that is a list": ({"__metadata__": []}, b"", "must map strings"),
    "entry that is a number": ({"a": 1}, b"", KEYS),
    "entry without shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234", KEYS),
    "entry with more": ({"a": entry() | {"run": "me"}}, b"1234", KEYS),
    "unknown dtype": ({"a": entry("F33")}, b"1234", DTYPE),
    "dtype that is a list": ({"a": entry(["F32"])}, b"1234", DTYPE),
    "negative size": ({"a": entry(shape=(-1,))}, b"1234", SHAPE),
    "two negative sizes": ({"a": entry(shape=(-1, -1))}, b"1234", SHAPE),
    "fractional size": ({"a": entry(shape=(1.0,))}, b"1234", SHAPE),
    "bool size": ({"a": entry(shape=(True,))}, b"1234", SHAPE),
    "shape that is a number": ({"a": entry() | {"shape": 1}}, b"1234", SHAPE),
    "rank bomb": ({"a": entry(shape=(1,) * 33)}, b"1234", SHAPE),
    "shape product that overflows 64 bits": (
        {"a": entry(shape=(2**62 + 1, 4), offsets=(0, 16))},
        bytes(16),
        FILL,
    ),
    "sizes beyond 64 bits beside a 0": (
        {"a": entry(shape=(0, 2**80), offsets=(0, 0))},
        b"",
        "impossible shape",
    ),
    "one offset": ({"a": entry(offsets=(4,))}, b"1234", OFFSETS),
    "offsets reversed": ({"a": entry(offsets=(4, 0))}, b"1234", FILL),
    "negative offset": ({"a": entry(offsets=(-4, 0))}, b"1234", OFFSETS),
    "offsets past the end": (
        {"a": entry(shape=(100,), offsets=(0, 400))},
        b"1234",
        "the tensors need 400 bytes, it has 4",
    ),
    "shape smaller than its bytes": ({"a": entry(offsets=(0, 8))}, b"12345678", FILL),
    "overlap": ({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456", "'b' overlaps"),
    "the same bytes twice": ({"a": entry(), "b": entry()}, b"1234", "'b' overlaps"),
    "hole": ({"a": entry(), "b": entry(offsets=(6, 10))}, b"1234567890", "'b' leaves a hole"),
    "hole at the beginning": ({"a": entry(offsets=(4, 8))}, b"12345678", "'a' leaves a hole"),
    "bytes left over": ({"a": entry()}, b"12345", "need 4 bytes, it has 5"),
    "BOOL that is neither": ({"a": entry("BOOL", offsets=(0, 1))}, b"\2", "neither 0 nor 1"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_by_name(tmp_path, case):
    header, data, message = HOSTILE[case]
    path = file_of(tmp_path / "hostile.safetensors", header, data)
    with pytest.raises(WeightsError, match=rf"hostile\.safetensors: .*{message}"):
        safetensors.read(path)


def test_a_header_over_the_cap_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors, "MAX_HEADER", 100)
    path = file_of(tmp_path / "file", b"{" + b" " * 98 + b"}")
    assert safetensors.read(path) == ({}, {})
    with pytest.raises(WeightsError, match="the cap is 100"):
        safetensors.read(file_of(path, b"{" + b" " * 99 + b"}"))
    with pytest.raises(WeightsError, match="over the cap of 100"):
        safetensors.write(path, {"a" * 100: np.zeros(1)})


def test_every_tensor_begins_at_a_multiple_of_its_item_size(tmp_path):
    path = tmp_path / "file"
    safetensors.write(path, TENSORS)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    for name, entry in json.loads(content[8:start]).items():
        assert (start + entry["data_offsets"][0]) % TENSORS[name].itemsize == 0


def test_a_huge_header_length_is_refused_before_anything_is_allocated(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match="header of 9223372036854775808 bytes"):
        safetensors.read(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "file"
    safetensors.write(path, TENSORS, {"a": "b"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError):
            safetensors.read(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutations_give_arrays_or_the_typed_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    safetensors.write(path, TENSORS, {"a": "b"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position : position + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=4)
        )
    path.write_bytes(content)
    try:
        tensors, _ = safetensors.read(path)
    except WeightsError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in tensors.values())


@pytest.mark.parametrize(
    "tensors, metadata",
    [
        ({"a": np.array(["text"])}, None),
        ({"a": np.array([object()])}, None),
        ({"a": np.zeros(2, np.complex64)}, None),
        ({"__metadata__": np.zeros(2)}, None),
        ({1: np.zeros(2)}, None),
        ({}, {"a": 1}),
    ],
)
def test_what_the_format_cannot_hold_is_refused_and_nothing_is_written(tmp_path, tensors, metadata):
    with pytest.raises(WeightsError, match="file"):
        safetensors.write(tmp_path / "file", tensors, metadata)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    safetensors.write(path, {"old": np.arange(3)})

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr(safetensors, "atomic_file", fails_after_one_write)
    else:
        monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="No space left") as caught:
        safetensors.write(path, {"new": np.arange(100)})
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert_same(safetensors.read(path)[0], {"old": np.arange(3)})
    assert os.listdir(tmp_path) == ["file"]


def fails_after_one_write(path):
    """``atomic_file`` on a disk with room for 8 more bytes."""

    class Full:
        def __init__(self, file):
            self.file, self.written = file, 0

        def write(self, data):
            self.written += len(data)
            if self.written > 8:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    @contextlib.contextmanager
    def full():
        with atomic_file(path) as file:
            yield Full(file)

    return full()


def test_what_a_killed_process_left_does_not_stop_the_next_write(tmp_path):
    half = b"half a checkpoint, longer than the next one" * 100
    left = [".file.partial", ".file.0123456789abcdef.partial"]
    others = [
        ".file",
        ".file.txt",
        ".file.my.partial",
        ".file2.0123456789abcdef.partial",
        "file.partial",
    ]
    for name in left + others:
        (tmp_path / name).write_bytes(half)
    safetensors.write(tmp_path / "file", {"a": np.arange(3)})
    assert_same(safetensors.read(tmp_path / "file")[0], {"a": np.arange(3)})
    remove_leftovers(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == sorted(["file", *others])


def test_two_writers_of_one_file(tmp_path):
    """The one that ends last wins; neither ends the other's write or mixes into it."""
    with atomic_file(tmp_path / "file") as first:
        first.write(b"first, " * 1000)
        with atomic_file(tmp_path / "file") as second:
            second.write(b"second")
        assert (tmp_path / "file").read_bytes() == b"second"
    assert (tmp_path / "file").read_bytes() == b"first, " * 1000
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_and_pipes_under_the_temporary_name(tmp_path, monkeypatch):
    """Even who knows the name cannot make us write elsewhere, or wait."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: "known")
    planted, victim = tmp_path / ".file.known.partial", tmp_path / "victim"
    victim.write_bytes(b"precious")
    for plant in (lambda: planted.symlink_to(victim), lambda: os.mkfifo(planted)):
        plant()
        with pytest.raises(FileExistsError), atomic_file(tmp_path / "file") as file:
            file.write(b"new")
        assert victim.read_bytes() == b"precious" and not (tmp_path / "file").exists()
        planted.unlink()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "link.pth").symlink_to("pipe.ckpt")
    signal.alarm(60)
    try:
        for name in ("pipe.ckpt", "link.pth"):
            for read in (safetensors.read, read_weights):
                with pytest.raises(WeightsError, match=f"{name}.*a pipe or a device"):
                    read(tmp_path / name)
    finally:
        signal.alarm(0)
    with pytest.raises(IsADirectoryError):
        read_weights(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="Windows counts the whole path")
def test_names_as_long_as_can_be(tmp_path):
    for name in ("n" * 255, "\N{HIRAGANA LETTER A}" * 85):
        with atomic_file(tmp_path / name) as file:
            file.write(b"new")
        assert (tmp_path / name).read_bytes() == b"new"


def test_a_missing_folder_is_an_os_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        safetensors.write(tmp_path / "absent" / "file", {})
    assert caught.value.filename == str(tmp_path / "absent" / "file")
    with pytest.raises(FileNotFoundError):
        safetensors.read(tmp_path / "absent" / "file")
