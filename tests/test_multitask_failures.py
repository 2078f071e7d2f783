"""What goes wrong with tasks, and what everybody is told: conflicts, NaN, deserters, slowness."""

import os
import threading
import time

import numpy as np
import pytest
from multitask_toys import Toy, run_threads, run_together

from multitask import LocalServer, Momentum, ParameterServer, Policy, errors
from multitask.server.events import Diary, read_events
from multitask.wire.transport import HAS_UNIX


def events(log, event):
    return [entry for entry in log if entry["event"] == event]


def test_two_shapes_for_one_name():
    a, b = Toy("a"), Toy("b", shared=(4, 6))
    with ParameterServer(2) as server:
        first = a.optimizer(server.address, start=False)
        with pytest.raises(
            errors.ShapeConflictError, match=r"\(4, 6\) in task b .*\(6, 4\) in task a"
        ):
            b.optimizer(server.address)
        b = Toy("b")  # corrected; a has been waiting all the time
        second = b.optimizer(server.address)
        first.start()
        first.finish(wait=False)
        second.finish(wait=False)


def test_a_task_that_comes_back_as_something_else():
    a, other = Toy("a"), Toy("a", shared=(3, 3))
    with ParameterServer(1) as server:
        a.optimizer(server.address).site.close()
        with pytest.raises(errors.RegistrationError, match="comes back with other"):
            other.optimizer(server.address)
        with pytest.raises(errors.RegistrationError, match="no task b in this training, only a"):
            Toy("b").optimizer(server.address)


def test_two_initial_values_for_one_name():
    a, b = Toy("a"), Toy("b")
    b.parameters["shared.weight"].data += 1
    with ParameterServer(2) as server:
        a.optimizer(server.address, start=False)
        with pytest.raises(errors.InitialValueConflictError, match="on_conflict"):
            b.optimizer(server.address)
    with ParameterServer(2, on_conflict="owner=b") as server:
        first = a.optimizer(server.address, start=False)
        second = b.optimizer(server.address)
        first.start()
        for name in ("shared.weight",):
            np.testing.assert_array_equal(a.parameters[name].data, b.parameters[name].data)
        assert second.iteration == first.iteration == 0


def test_nan_stops_everybody_and_names_the_culprit():
    a, b, log = Toy("a"), Toy("b"), []
    with ParameterServer(2, report=log.append) as server:

        def poisoned():
            optimizer = a.optimizer(server.address)
            a.backward(0)
            a.parameters["a.head"].grad[1] = np.nan
            with pytest.raises(errors.NonFiniteError, match="task a .* iteration 0, in a.head"):
                optimizer.step()

        def innocent():
            with pytest.raises(errors.NonFiniteError, match="task a"):
                b.train(b.optimizer(server.address), 3)

        run_threads([poisoned, innocent])
    assert "NonFiniteError" in events(log, "stopped")[0]["why"]


def stop_while_one_computes(server, **options):
    """A contribution of NaN stops the training; a task that computes hears of it at last."""
    busy, evil = Toy("busy"), Toy("evil")
    with server:
        is_busy = threading.Event()

        def poisoned():
            optimizer = evil.optimizer(server.address, **options)
            evil.backward(0)
            evil.parameters["evil.head"].grad[1] = np.nan
            is_busy.wait()
            with pytest.raises(errors.NonFiniteError, match="task evil"):
                optimizer.step()

        def computing():
            optimizer = busy.optimizer(server.address, heartbeat=0.1, patience=1.0, **options)
            busy.backward(0)
            is_busy.set()
            time.sleep(1.5)
            with pytest.raises(errors.NonFiniteError, match="task evil"):
                optimizer.step()

        run_threads([poisoned, computing])


# The server is gone by then, or lingers; it hears signs of life meanwhile.
@pytest.mark.parametrize("linger", [0.2, 5.0])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_who_computes_when_training_stops_hears_why(tmp_path, monkeypatch, kind, linger):
    if kind == "unix" and not HAS_UNIX:
        pytest.skip("this system has no Unix sockets")
    monkeypatch.setattr("multitask.server.server.LINGER", linger)
    address = f"unix:{tmp_path / 's'}" if kind == "unix" else "127.0.0.1:0"
    stop_while_one_computes(ParameterServer(2, address))


def test_who_lost_the_connection_when_training_stops_hears_why():
    away, evil = Toy("away"), Toy("evil")
    with ParameterServer(2) as server:
        gone, told = threading.Event(), threading.Event()

        def poisoned():
            optimizer = evil.optimizer(server.address)
            evil.backward(0)
            evil.parameters["evil.head"].grad[1] = np.nan
            gone.wait()
            with pytest.raises(errors.NonFiniteError, match="task evil"):
                optimizer.step()
            told.set()

        def disconnected():
            optimizer = away.optimizer(server.address, patience=1.0)
            away.backward(0)
            optimizer.site._hang_up()
            time.sleep(0.3)
            gone.set()
            told.wait()
            with pytest.raises(errors.NonFiniteError, match="task evil"):
                optimizer.step()

        run_threads([poisoned, disconnected])


def test_nan_can_be_skipped():
    a, b, log = Toy("a"), Toy("b"), []
    policy = Policy(on_non_finite="skip")
    with ParameterServer(2, policy=policy, report=log.append) as server:

        def poisoned():
            optimizer = a.optimizer(server.address)
            head = a.parameters["a.head"].data.copy()
            a.backward(0)
            a.parameters["a.head"].grad[1] = np.inf
            optimizer.step()
            np.testing.assert_array_equal(a.parameters["a.head"].data, head)
            optimizer.finish()

        run_threads([poisoned, lambda: b.train(b.optimizer(server.address), 1)])
    assert events(log, "skipped")[0]["task"] == "a"


def test_a_task_that_does_not_come_back_stops_the_training():
    a, b = Toy("a"), Toy("b")
    with ParameterServer(2, policy=Policy(rejoin_timeout=0.3)) as server:

        def deserter():
            a.optimizer(server.address).site.close()

        def waiting():
            with pytest.raises(errors.TrainingStoppedError, match="task a has been gone"):
                b.train(b.optimizer(server.address), 3)

        run_threads([deserter, waiting])


def test_or_the_others_go_on_without_it():
    a, b, log = Toy("a"), Toy("b"), []
    policy = Policy(rejoin_timeout=0.3, on_lost="evict")
    with ParameterServer(2, policy=policy, report=log.append) as server:

        def deserter():
            a.optimizer(server.address).site.close()

        run_threads([deserter, lambda: b.train(b.optimizer(server.address), 3)])
    assert b.buffers["count"] == 3 and events(log, "evicted")[0]["task"] == "a"


def test_a_slow_task_is_reported_and_in_the_end_given_up():
    a, b, log = Toy("a"), Toy("b"), []
    policy = Policy(silence=5.0, heartbeat=0.1, slow_warning=0.2, straggler_timeout=1.0)
    with ParameterServer(2, policy=policy, report=log.append) as server:

        def slow():  # alive, but it does not commit
            optimizer = a.optimizer(server.address, heartbeat=0.1)
            time.sleep(0.6)
            assert events(log, "slow")[0]["task"] == "a" and not events(log, "lost")
            time.sleep(0.8)
            a.backward(0)
            with pytest.raises(errors.TrainingStoppedError, match="not committed for 1 s"):
                optimizer.step()

        def waiting():
            optimizer = b.optimizer(server.address, heartbeat=0.1)
            b.backward(0)
            with pytest.raises(errors.TrainingStoppedError):
                optimizer.step()
            assert optimizer.site.waiting_for == ["a"]

        run_threads([slow, waiting])


def test_silence_is_noticed():
    log, policy = [], Policy(silence=0.4, heartbeat=0.1)
    with ParameterServer(1, policy=policy, report=log.append) as server:
        Toy("mute").optimizer(server.address, heartbeat=60)
        time.sleep(0.8)
        assert events(log, "lost")[0]["task"] == "mute"


def test_a_site_that_was_refused_stays_away():
    with ParameterServer(1) as server:
        optimizer = Toy("a").optimizer(server.address)
        optimizer.site.close()
        with pytest.raises(errors.MultitaskError, match="has hung up"):
            optimizer.step()


def test_nobody_there():
    with pytest.raises(errors.ServerUnreachableError, match="127.0.0.1:9"):
        Toy("a").optimizer("127.0.0.1:9", patience=0.2)


def test_another_momentum_than_the_servers():
    with ParameterServer(1, rule=Momentum(0.8)) as server:
        with pytest.raises(errors.RegistrationError, match="momentum 0.9 here"):
            Toy("a").optimizer(server.address, momentum=0.9)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_costs_the_diary_and_nothing_else():
    iterations = 3
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), iterations)
    toys = [Toy("a"), Toy("b")]
    with ParameterServer(2, report=Diary("/dev/full")) as server:
        address = server.address
        run_threads([lambda toy=toy: toy.train(toy.optimizer(address), iterations) for toy in toys])
    assert [toy.digest() for toy in toys] == expected


def test_a_diary_goes_on_when_the_disk_has_room_again(tmp_path):
    diary = Diary(tmp_path / "events.jsonl")
    file = diary._file

    class Full:
        def __init__(self, room):
            self.room = room

        def write(self, line):
            if not self.room:
                raise OSError(28, "No space left on device")
            return file.write(line[: self.room])

    for number, room in enumerate([1000, 10, 0, 1000, 1000]):
        diary._file = Full(room)
        diary({"event": "commit", "number": number})
    file.close()
    told = list(read_events(tmp_path / "events.jsonl"))
    assert [event["number"] for event in told] == [0, 3, 4]
    with open(tmp_path / "events.jsonl", "ab") as file:
        file.write(b"\xff\xfe\n")  # what a broken disk may leave
    assert list(read_events(tmp_path / "events.jsonl")) == told


def test_no_memory_for_what_a_task_registers(monkeypatch):
    large = 32 * 2**20

    class SmallMachine:
        uint8 = np.uint8

        def empty(self, size, dtype):
            if size >= large:
                raise MemoryError
            return np.empty(size, dtype)

    log = []
    with ParameterServer(2, report=log.append) as server:
        waiting = Toy("a").optimizer(server.address, start=False)
        # A slow connection, in proportion.
        monkeypatch.setattr("multitask.server.server.LINGER", 0.001)
        monkeypatch.setattr("multitask.wire.frames.np", SmallMachine())
        big = Toy("b", shared=(large // 4,))
        big.parameters["b.body"] = big.parameters.pop("shared.weight")
        with pytest.raises(errors.RegistrationError, match="no memory for what the task registers"):
            big.optimizer(server.address, patience=1)
        monkeypatch.undo()
        small = Toy("b").optimizer(server.address)
        waiting.start()
        small.finish(wait=False)
        waiting.finish(wait=False)
    assert events(log, "refused")[0]["why"].startswith("RegistrationError")


def test_no_memory_for_all_tasks_together(monkeypatch):
    def small_machine(members, rule):
        raise MemoryError

    monkeypatch.setattr("multitask.core.update_core.lay_out", small_machine)
    with ParameterServer(1) as server:
        with pytest.raises(errors.RegistrationError, match="no memory"):
            Toy("a").optimizer(server.address)


def test_no_memory_in_the_midst_of_an_update_ends_the_server(monkeypatch):
    """The weights may be half updated: nothing may be saved or sent; a restart goes on."""

    def half(weight, state, total, iteration):
        state[0] += 1
        raise MemoryError

    rule = Momentum()
    server, told = ParameterServer(1, rule=rule), []

    def serve():
        try:
            server.serve()
        except MemoryError:
            told.append("broken off")

    def site():
        toy = Toy("a")
        optimizer = toy.optimizer(server.address, patience=0.3)
        monkeypatch.setattr(rule, "step", half)
        toy.backward(0)
        with pytest.raises(errors.ServerUnreachableError):
            optimizer.step()

    run_threads([serve, site])
    assert told == ["broken off"]
