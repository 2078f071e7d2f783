"""Checkpoints: what goes in comes out, and a damaged file is never believed."""

import os

import numpy as np
import pytest

from nn import checkpoint

TREE = {
    "model": {"conv1.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
    "optimizer": {"velocities": [np.zeros(3, np.float64), np.array(7, np.int64)]},
    "iteration": 12,
    "best": 0.25,
    "name": "run ü",
    "nothing": None,
    "flags": [True, False],
    "pair": (1, (2.5, np.ones((0, 4), np.uint8))),
    "empty": {},
}


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path / "a.ckpt", TREE)
    assert_same(TREE, checkpoint.load(tmp_path / "a.ckpt"))
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_loaded_arrays_can_be_written(tmp_path):
    checkpoint.save(tmp_path / "a.ckpt", TREE)
    checkpoint.load(tmp_path / "a.ckpt")["model"]["conv1.0.weight"] += 1


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, {"w": np.arange(4.0), "t": 3})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(checkpoint.CheckpointError, match="a.ckpt"):
            checkpoint.load(path)


def test_every_flipped_byte_is_refused_or_harmless(tmp_path):
    path = tmp_path / "a.ckpt"
    tree = {"w": np.arange(4.0), "t": 3}
    checkpoint.save(path, tree)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(bytes(damaged))
            try:
                loaded = checkpoint.load(path)
            except checkpoint.CheckpointError:
                continue
            assert_same(tree, loaded)


def test_other_formats_are_named(tmp_path):
    from nn.weights import safetensors

    path = tmp_path / "weights.safetensors"
    safetensors.write(path, {"w": np.ones(2, np.float32)}, {})
    with pytest.raises(checkpoint.CheckpointError, match="not a checkpoint of this version"):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "absent.ckpt")


def test_what_cannot_be_stored_says_where(tmp_path):
    with pytest.raises(TypeError, match="set at /a/1"):
        checkpoint.save(tmp_path / "a", {"a": [1, {2}]})
    with pytest.raises(TypeError, match="key 3"):
        checkpoint.save(tmp_path / "a", {3: 1})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, {"t": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"t": 2})
    monkeypatch.undo()
    assert checkpoint.load(path) == {"t": 1}
    assert os.listdir(tmp_path) == ["a.ckpt"]
