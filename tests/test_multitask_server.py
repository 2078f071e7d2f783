"""The parameter server over sockets: the bits, whatever the transport, the order and the delays."""

import contextlib
import random
import threading
import time

import numpy as np
import pytest
from multitask_toys import Toy, run_threads, run_together

from multitask import LocalServer, Momentum, ParameterServer, Policy, RemoteMomentum, errors
from multitask.transport import HAS_UNIX
from nn import Parameter
from nn.optim import MomentumSGD

TRANSPORTS = [
    "tcp",
    pytest.param("unix", marks=pytest.mark.skipif(not HAS_UNIX, reason="no AF_UNIX")),
]


@pytest.fixture(params=TRANSPORTS)
def address(request, tmp_path):
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/s"


def train_remotely(toys, server, iterations, delay=lambda iteration: None):
    run_threads(
        [
            lambda toy=toy: toy.train(toy.optimizer(server.address), iterations, delay)
            for toy in toys
        ]
    )
    return [toy.digest() for toy in toys]


def test_one_task_through_the_server_is_local_momentum_bit_for_bit(address):
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((20, 10)), "b": rng.standard_normal(10)}
    local = {name: Parameter(a.astype(np.float32)) for name, a in arrays.items()}
    remote = {name: Parameter(a.astype(np.float32)) for name, a in arrays.items()}
    ours = MomentumSGD(
        [{"params": [local["w"]]}, {"params": [local["b"]], "lr_scale": 2.0, "weight_decay": 0.0}],
        lr=0.1, momentum=0.9, weight_decay=1e-4,
    )  # fmt: skip
    with ParameterServer(1, address) as server:
        theirs = RemoteMomentum(
            [{"params": {"w": remote["w"]}},
             {"params": {"b": remote["b"]}, "lr_scale": 2.0, "weight_decay": 0.0}],
            lr=0.1, momentum=0.9, weight_decay=1e-4, task="one", server=server.address,
        )  # fmt: skip
        for iteration in range(200):
            ours.lr = theirs.lr = 0.1 / (1 + iteration / 50)
            for name in arrays:
                grad = rng.standard_normal(local[name].shape).astype(np.float32)
                grad = None if iteration % 9 == 5 and name == "b" else grad + local[name].data
                local[name].grad = remote[name].grad = grad
            ours.step()
            theirs.step()
            for name in arrays:
                assert local[name].data.tobytes() == remote[name].data.tobytes(), iteration
        assert theirs.iteration == 200 and theirs.finish()


@pytest.mark.parametrize("count", [2, 5])
def test_any_order_and_any_delays_give_one_hash(count, address):
    names = [f"task{i}" for i in range(count)]
    expected = run_together([Toy(name) for name in names], LocalServer(count, Momentum(0.9)), 15)
    rng = random.Random(count)
    shuffled = rng.sample(names, count)
    toys = {name: Toy(name) for name in shuffled}

    def site(toy, server):
        time.sleep(rng.random() * 0.2)
        delay = lambda iteration: time.sleep(rng.random() * 0.01)  # noqa: E731
        toy.train(toy.optimizer(server.address), 15, delay)

    with ParameterServer(count, address, Momentum(0.9)) as server:
        run_threads([lambda toy=toy: site(toy, server) for toy in toys.values()])
    assert [toys[name].digest() for name in names] == expected


@pytest.mark.nightly
@pytest.mark.parametrize("count", range(2, 9))
def test_fifty_random_runs_give_one_hash(count):
    for _ in range(50):
        test_any_order_and_any_delays_give_one_hash(count, "127.0.0.1:0")


def test_tasks_that_share_nothing_do_not_wait_for_each_other():
    lonely, other = Toy("a", lonely=True), Toy("b", lonely=True)
    with ParameterServer(2) as server:
        first = lonely.optimizer(server.address, start=False)
        second = other.optimizer(server.address)
        first.start()
        for iteration in range(10):
            lonely.backward(iteration)
            first.step()
        assert first.iteration == 10 and second.iteration == 0
        first.finish(wait=False)
        second.finish(wait=False)


def test_a_task_may_have_fewer_iterations_than_the_others():
    long, short = Toy("long"), Toy("short")
    with ParameterServer(2) as server:
        run_threads(
            [
                lambda: long.train(long.optimizer(server.address), 12),
                lambda: short.train(short.optimizer(server.address), 5),
            ]
        )
    assert long.buffers["count"] == 12 and short.buffers["count"] == 5


# Coming and going


def test_a_site_that_is_cut_off_joins_again_and_changes_no_bit():
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), 30)
    a, b = Toy("a"), Toy("b")
    with ParameterServer(2) as server:
        optimizers = {}

        def site(toy):
            optimizers[toy.name] = toy.optimizer(server.address)
            toy.train(optimizers[toy.name], 30, cut)

        def cut(iteration):
            if iteration % 4 == 1:
                with contextlib.suppress(OSError, AttributeError):  # it may be down already
                    optimizers["a"].site._socket.shutdown(2)

        run_threads([lambda: site(a), lambda: site(b)])
    assert [a.digest(), b.digest()] == expected


def test_a_new_process_takes_over_where_the_old_one_was():
    """The old site hangs with its connection open; the new one starts from nothing."""
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), 12)
    hanging, fresh, b = Toy("a"), Toy("a"), Toy("b")
    with ParameterServer(2) as server:

        def first_life():
            optimizer = hanging.optimizer(server.address)
            for iteration in range(5):
                optimizer.lr = hanging.lr(iteration)
                hanging.backward(iteration)
                optimizer.step()
            second_life()
            hanging.backward(5)
            with pytest.raises(errors.StaleSessionError, match="joined again"):
                optimizer.step()

        def second_life():
            optimizer = fresh.optimizer(server.address)
            assert optimizer.iteration == 5 and fresh.buffers["count"] == 5
            fresh.train(optimizer, 12)

        run_threads([first_life, lambda: b.train(b.optimizer(server.address), 12)])
    assert [fresh.digest(), b.digest()] == expected


def test_a_restarted_server_takes_the_sites_back_to_its_snapshot(tmp_path):
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), 40)
    address = f"unix:{tmp_path}/s" if HAS_UNIX else "127.0.0.1:29517"
    toys, over = [Toy("a"), Toy("b")], threading.Event()
    policy = Policy(snapshot_every=3)

    def keep_serving():
        while not over.is_set():
            with ParameterServer(2, address, snapshots=tmp_path / "snapshots", policy=policy):
                over.wait(0.4)

    def work():
        run_threads([lambda toy=toy: toy.train(toy.optimizer(address), 40, slowly) for toy in toys])
        over.set()

    def slowly(iteration):
        time.sleep(0.02)

    run_threads([keep_serving, work])
    assert [toy.digest() for toy in toys] == expected


def test_a_server_that_has_forgotten_everything_is_not_trusted(tmp_path):
    address = f"unix:{tmp_path}/s" if HAS_UNIX else "127.0.0.1:29518"
    toy = Toy("a")
    with ParameterServer(1, address):
        optimizer = toy.optimizer(address)
        toy.backward(0)
        optimizer.step()
    with ParameterServer(1, address):
        with pytest.raises(errors.MultitaskError, match="another training"):
            optimizer.step()


# What goes wrong


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


def test_nobody_there():
    with pytest.raises(errors.ServerUnreachableError, match="127.0.0.1:9"):
        Toy("a").optimizer("127.0.0.1:9", patience=0.2)


def test_another_momentum_than_the_servers():
    with ParameterServer(1, rule=Momentum(0.8)) as server:
        with pytest.raises(errors.RegistrationError, match="momentum 0.9 here"):
            Toy("a").optimizer(server.address, momentum=0.9)
