"""A bad network between the sites and the server: slow, cut, torn to bytes, swallowed; one hash."""

import contextlib
import random
import socket
import struct
import threading
import time

import pytest
from multitask_toys import Toy, run_threads, run_together

from multitask import LocalServer, ParameterServer, Policy
from multitask.wire.transport import parse_address

ITERATIONS = 25


class BadNetwork:
    """A relay that mistreats what passes through.

    Args:
        server: whose connections it relays.
        piece: at most so many bytes at a time.
        delay: at most so many seconds before each piece.
        trouble: "cut" (reset both sides), "close" (end both) or "swallow" (go on, deliver nothing).
        life: after about so many bytes of a connection the trouble comes.
    """

    def __init__(self, server, seed, piece=65536, delay=0.0, trouble=None, life=2000):
        address = parse_address(server.address)
        self.behind = address.host, address.port
        self.rng, self.piece, self.delay = random.Random(seed), piece, delay
        self.trouble, self.life, self.troubles = trouble, life, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                site, _ = self.listener.accept()
            except OSError:
                return  # the test is over
            with contextlib.suppress(OSError):  # the site may have hung up already
                self.join(site, socket.create_connection(self.behind))

    def join(self, site, server):
        for connection in (site, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        left = [self.rng.uniform(0.3, 2) * self.life if self.trouble else float("inf")]
        for ends in ((site, server), (server, site)):
            threading.Thread(target=self.relay, args=(*ends, left), daemon=True).start()

    def relay(self, source, target, left):
        with contextlib.suppress(OSError):
            while data := source.recv(self.piece):
                left[0] -= len(data)
                if left[0] < 0:
                    self.troubles += 1
                    if self.trouble == "swallow":
                        continue
                    if self.trouble == "cut":
                        for end in (source, target):
                            linger = struct.pack("ii", 1, 0)  # closing sends a reset
                            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    break
                if self.delay:
                    time.sleep(self.rng.random() * self.delay)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture(scope="module")
def expected():
    return run_together([Toy("a"), Toy("b")], LocalServer(2), ITERATIONS)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "network",
    [
        {"piece": 1},
        {"piece": 7, "delay": 0.002},
        {"delay": 0.02},
        {"trouble": "cut", "life": 4000},
        {"trouble": "close", "piece": 100, "life": 4000},
        {"trouble": "swallow", "life": 6000},
    ],
    ids=lambda network: "-".join(f"{key}-{value}" for key, value in network.items()),
)
def test_whatever_the_network_does(network, seed, expected):
    toys = [Toy("a"), Toy("b")]
    policy = Policy(silence=0.5, heartbeat=0.1)
    with ParameterServer(2, policy=policy) as server:
        relay = BadNetwork(server, seed, **network)

        def train(toy):
            optimizer = toy.optimizer(relay.address, silence=0.5, heartbeat=0.1)
            toy.train(optimizer, ITERATIONS)

        run_threads([lambda toy=toy: train(toy) for toy in toys], timeout=60)
        with contextlib.suppress(OSError):
            relay.listener.shutdown(socket.SHUT_RDWR)  # ends its thread
        relay.listener.close()
    assert [toy.digest() for toy in toys] == expected
    assert not network.get("trouble") or relay.troubles > 3
