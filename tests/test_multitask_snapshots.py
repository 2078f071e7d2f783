"""Snapshots on a disk that fails: what is loaded is exact, or refused; never silently wrong."""

import builtins
import errno
import os
import shutil

import numpy as np
import pytest
from multitask_toys import Toy, run_together

from multitask import LocalServer, ParameterServer, Policy
from multitask.core.registration import Registration
from multitask.core.state import snapshot
from multitask.core.update_core import UpdateCore
from multitask.errors import SnapshotError
from multitask.server.snapshots import SnapshotStore
from nn import files


def tree(value):
    core = UpdateCore()
    core.register(Registration.of("a", {"w": np.full(3, value, np.float32)}))
    core.start()
    return {"run": "x", "core": snapshot(core)}


def value_of(found):
    tree, path = found
    return tree["core"]["weights"]["w"][0], path.name


def test_the_newest_counts_and_two_are_kept(tmp_path):
    store = SnapshotStore(tmp_path)
    assert store.load() is None
    for iteration in (3, 20, 100):
        store.save(tree(iteration), iteration)
    assert [path.name for path in store.files()] == [
        "iteration-000000100.snapshot",
        "iteration-000000020.snapshot",
    ]
    assert value_of(store.load())[0] == 100


def test_every_truncation_and_every_flipped_byte(tmp_path):
    store = SnapshotStore(tmp_path)
    old, new = store.save(tree(1), 1), store.save(tree(2), 2)
    good_old, good_new = old.read_bytes(), new.read_bytes()
    exact = 0
    damaged = [good_new[:length] for length in range(len(good_new))]
    for place in range(len(good_new)):
        flipped = bytes([good_new[place] ^ 1 << place % 8])
        damaged.append(good_new[:place] + flipped + good_new[place + 1 :])
    for data in damaged:
        new.write_bytes(data)
        value, name = value_of(store.load())
        assert (value, name) in ((2, new.name), (1, old.name))
        exact += value == 2
        if value == 1:
            assert not new.exists() and new.with_suffix(".damaged").exists()
    assert exact < 20  # blanks in the padding of the header, which mean nothing
    old.write_bytes(good_old[:-1])
    new.write_bytes(good_new[:-1])
    with pytest.raises(SnapshotError, match="no snapshot is whole"):
        store.load()


def test_where_all_are_damaged_every_start_says_so(tmp_path):
    """And none begins at iteration 0, which would be taken for the old training going on."""
    store = SnapshotStore(tmp_path)
    for iteration in (1, 2):
        path = store.save(tree(iteration), iteration)
        path.write_bytes(path.read_bytes()[:-1])
    before = sorted(os.listdir(tmp_path))
    for _ in range(3):
        with pytest.raises(SnapshotError, match="no snapshot is whole.*choose another folder"):
            ParameterServer(1, snapshots=tmp_path)
        assert sorted(os.listdir(tmp_path)) == before
    for path in store.files():  # as an older version left them
        path.rename(path.with_suffix(".damaged"))
    with pytest.raises(SnapshotError, match="no snapshot is whole.*000000002.damaged"):
        store.load()
    store.save(tree(3), 3)
    assert value_of(store.load())[0] == 3


def test_what_a_killed_server_has_left_is_removed(tmp_path):
    store = SnapshotStore(tmp_path)
    path = store.save(tree(1), 1)
    for name in ("", ".0123456789abcdef"):
        (tmp_path / f".iteration-000000002.snapshot{name}.partial").write_bytes(b"half")
    assert value_of(store.load()) == (1, path.name)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("forever", [False, True])
def test_when_the_disk_refuses_the_old_generation_stays(tmp_path, monkeypatch, call, forever):
    store = SnapshotStore(tmp_path)
    store.save(tree(1), 1)
    for k in range(4):
        calls = iter(range(1000))

        def refuse(*arguments, real, k=k, calls=calls, **options):
            count = next(calls)
            if count == k or (forever and count > k):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            place = builtins if call == "open" else files.os
            real = getattr(place, call)
            patch.setattr(place, call, lambda *a, real=real, **o: refuse(*a, real=real, **o))
            try:
                store.save(tree(2), 2)
            except OSError as error:
                assert error.errno == errno.ENOSPC
        value, _ = value_of(store.load())
        assert value in (1, 2)


def test_a_folder_that_vanishes_costs_snapshots_but_not_the_training(tmp_path):
    expected = run_together([Toy("a")], LocalServer(1), 6)
    folder, log, toy = tmp_path / "snapshots", [], Toy("a")

    def vanish(iteration):
        if iteration == 3:
            shutil.rmtree(folder)

    policy = Policy(snapshot_every=1)
    with ParameterServer(1, snapshots=folder, policy=policy, report=log.append) as server:
        toy.train(toy.optimizer(server.address), 6, vanish)
    assert [toy.digest()] == expected
    assert any(entry["event"] == "snapshot failed" for entry in log)
    assert not os.path.exists(folder)


def test_a_snapshot_of_another_training_is_refused(tmp_path):
    SnapshotStore(tmp_path).save(tree(1), 1)
    with pytest.raises(SnapshotError, match="1 tasks, not 2"):
        ParameterServer(2, snapshots=tmp_path)
