"""The parameter server over sockets: the bits, whatever the transport, the order and the delays."""

import contextlib
import random
import threading
import time

import numpy as np
import pytest
from multitask_toys import Toy, run_threads, run_together, toy_task

import multitask
from multitask import LocalServer, Momentum, ParameterServer, Policy, RemoteMomentum, errors
from multitask.site.task import TaskSite
from multitask.wire.protocol import Kind
from multitask.wire.transport import HAS_UNIX
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


@pytest.mark.parametrize("pause", [0.0, 1.5])
def test_a_new_process_takes_over_where_the_old_one_was(pause):
    """The old site hangs with its connection open; the new one starts from nothing."""
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), 12)
    hanging, fresh, b = Toy("a"), Toy("a"), Toy("b")
    with ParameterServer(2) as server:

        def two_lives():
            old = hanging.optimizer(server.address)
            for iteration in range(5):
                old.lr = hanging.lr(iteration)
                hanging.backward(iteration)
                old.step()
            new = fresh.optimizer(server.address)
            assert new.iteration == 5 and fresh.buffers["count"] == 5
            time.sleep(pause)  # the server may have closed the old connection by then
            hanging.backward(5)
            with pytest.raises(errors.StaleSessionError, match="joined again"):
                old.step()
            fresh.train(new, 12)

        run_threads([two_lives, lambda: b.train(b.optimizer(server.address), 12)])
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


def test_a_server_leaves_when_all_have_heard_that_it_is_over():
    with ParameterServer(1) as server:
        Toy("a").optimizer(server.address).finish()
        server._thread.join(3)
        assert not server._thread.is_alive()


def test_a_task_that_missed_the_end_can_still_hear_of_it():
    with ParameterServer(1) as server:
        first = Toy("a").optimizer(server.address)
        first.site._send(Kind.LEAVE, 0, {"wait": True})
        first.site.close()
        time.sleep(0.3)
        again = Toy("a").optimizer(server.address, patience=1)
        assert again.site.finished and again.iteration == 0
        assert again.finish() and again.site.done


def test_a_task_that_died_after_the_end_gets_what_it_has_learned(tmp_path):
    """Its process may have died before it had written its network to the disk."""
    iterations, names = 5, ["a", "b"]
    toys = [Toy(name) for name in names]
    with ParameterServer(2, snapshots=tmp_path) as server:
        train_remotely(toys, server, iterations)
        server._thread.join(5)
    with ParameterServer(2, snapshots=tmp_path) as server:
        late = [Toy(name) for name in names]
        for toy in late:
            toy.train(toy.optimizer(server.address), iterations)
        server._thread.join(5)  # it has not waited for longer than it must
        assert not server._thread.is_alive()
    assert [toy.digest() for toy in late] == [toy.digest() for toy in toys]
    task = toy_task("a")
    multitask.run([task], 3, folder=tmp_path / "run", start_method="fork")
    with ParameterServer(1, snapshots=tmp_path / "run" / "snapshots") as server:
        with pytest.raises(errors.MultitaskError, match="finished training of 3 iterations, not"):
            TaskSite(task, server.address).run(4)


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
