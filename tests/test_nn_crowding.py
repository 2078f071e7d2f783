"""The number of threads follows what the scheduler says, without a clock."""

import math
import sys
import threading

import numba
import numpy as np
import pytest

import nn
from nn.kernels.activation import relu_forward
from nn.kernels.machine import crowding, pool
from nn.kernels.machine.crowding import MOST_PATIENCE, MUCH, WINDOW, Crowding, Share


def shares(windows, share, most):
    """The number of threads in each of some windows; ``windows`` are functions of it."""
    for is_crowded in windows:
        yield share.threads
        share = share.after(is_crowded(share.threads), most)


def always(threads):
    return True


def never(threads):
    return False


def test_alone_all_threads_are_used():
    assert set(shares([never] * 100, Share(4), 4)) == {4}


def test_in_a_crowd_a_quarter_is_given_up_each_time_and_never_the_last():
    assert list(shares([always] * 8, Share(8), 8)) == [8, 6, 5, 4, 3, 2, 1, 1]


@pytest.mark.parametrize(("most", "free"), [(2, 1), (4, 3), (8, 1), (8, 5), (64, 40)])
def test_what_others_use_is_rarely_tried(most, free):
    used = list(shares([lambda threads: threads > free] * 4000, Share(most), most))
    settled = np.array(used[400:])
    assert np.mean(settled > free) < 1.1 / MOST_PATIENCE
    assert settled.mean() > 0.75 * free


@pytest.mark.parametrize("most", [2, 8])
def test_when_the_others_have_gone_all_threads_come_back(most):
    windows = [lambda threads: threads > 1] * 1000 + [never] * (MOST_PATIENCE * most)
    used = list(shares(windows, Share(most), most))
    assert used[999] == 1 and used[-1] == most
    windows = [never] * 5000 + windows[:20]
    again = list(shares(windows, Share(most, MOST_PATIENCE), most))
    assert again[-20:] == used[:20]  # after a long calm the bad times are forgotten


def test_fewer_threads_allowed_than_were_in_use():
    assert Share(8).after(True, 4) == Share(3, 2)
    assert Share(8).after(False, 4) == Share(4)
    assert Share(8).after(False, 1) == Share(1)


@pytest.fixture
def told(monkeypatch):
    """What the system says of the threads, to be changed; every kernel looks."""
    said = {"1": (10 * WINDOW, 5 * MUCH)}  # of the time before
    monkeypatch.setattr(crowding, "times", lambda: dict(said))
    monkeypatch.setattr(crowding, "PAUSE", -math.inf)
    return said


def add(told, thread, work, wait):
    before = told.get(thread, (0, 0))
    told[thread] = before[0] + work, before[1] + wait


def test_waiting_is_counted_from_the_beginning_of_a_window(told):
    found = Crowding(2)
    assert found.threads() == 2
    add(told, "1", WINDOW, MUCH // 2)
    add(told, "2", WINDOW // 2, MUCH // 4)  # a new one
    assert found.threads() == 2
    add(told, "2", WINDOW // 2, 0)  # the window ends
    assert found.threads() == 2 and found.share == Share(2)
    add(told, "1", 0, MUCH // 2)
    assert found.threads() == 2
    add(told, "2", 0, MUCH // 2)  # together it is much, and the window is not waited for
    assert found.threads() == 1
    del told["1"]  # has ended
    add(told, "2", WINDOW, 0)
    assert found.share.calm == 0 and found.threads() == 1
    add(told, "2", WINDOW, 0)
    assert found.threads() == 2


def test_a_window_is_as_long_as_its_threads_work_together(told):
    found = Crowding(2)
    add(told, "1", 1.5 * WINDOW, 0.75 * MUCH)
    assert found.threads() == 2
    add(told, "1", 0, 0.25 * MUCH)  # still the same window
    assert found.threads() == 1


def test_one_thread_needs_no_look(told):
    found = Crowding(2)
    add(told, "1", WINDOW, 2 * MUCH)
    found.allow(1)
    assert found.threads() == 1 and found.share == Share(2)
    found.allow(2)  # what has been before does not count
    assert found.threads() == 2


def test_what_the_programs_other_threads_work_is_not_the_others_doing(told, monkeypatch):
    caller = str(threading.get_native_id())
    monkeypatch.setattr(crowding, "threads_of_python", lambda: {caller, "loader"})
    found = Crowding(2)
    add(told, "loader", MUCH, 10 * MUCH)  # it waits for the pool
    add(told, "1", WINDOW, 1.5 * MUCH)  # and the pool for it
    assert found.threads() == 2
    add(told, caller, WINDOW, 0.25 * MUCH)
    assert found.threads() == 2  # the window ends
    add(told, "loader", MUCH, 0)
    add(told, "1", 0, 1.25 * MUCH)
    add(told, caller, 0, 0.75 * MUCH)
    assert found.threads() == 1


def test_a_thread_that_has_run_a_kernel_is_no_loader(told, monkeypatch):
    caller = str(threading.get_native_id())
    monkeypatch.setattr(crowding, "threads_of_python", lambda: {caller, "another"})
    found = Crowding(2)
    found._callers.add("another")
    add(told, "another", 0, MUCH)
    assert found.threads() == 1


def test_where_the_system_says_nothing_all_threads_are_used(monkeypatch):
    monkeypatch.setattr(crowding, "times", dict)
    found = Crowding(3)
    assert found.threads() == 3
    monkeypatch.setattr(crowding, "times", lambda: pytest.fail("looked"))
    assert found.threads() == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says")
def test_linux_says():
    thread = str(threading.get_native_id())
    work, wait = crowding.times()[thread]
    while crowding.times()[thread][0] < work + WINDOW:
        pass  # ends, for this is work
    assert crowding.times()[thread][1] >= wait


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="twins have no threads")
@pytest.mark.skipif(nn.get_num_threads() < 2, reason="needs two processors")
def test_kernels_run_with_that_many(monkeypatch):
    most, array = nn.get_num_threads(), np.ones(100, np.float32)
    for threads in (1, 2):
        monkeypatch.setattr(pool, "_crowding", Crowding(most))
        monkeypatch.setattr(pool._crowding, "share", Share(threads))
        monkeypatch.setattr(pool._crowding, "_next_look", math.inf)
        relu_forward(array, math.inf, np.empty_like(array))
        assert numba.get_num_threads() == threads and nn.get_num_threads() == most
