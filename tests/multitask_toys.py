"""Tiny tasks for the tests of the parameter server: gradients from W, buffers and t alone."""

import functools
import hashlib
import os
import signal
import threading
import time

import numpy as np

import nn
from multitask import RemoteMomentum, Task
from nn import Parameter


def generator(*key):
    """Random numbers that depend on nothing but the key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


class Toy:
    """A task: a shared layer, a head of its own, and running statistics that affect its gradients.

    Args:
        name: of the task.
        shared: shape of the shared layer.
        lonely: without the shared layer.
    """

    def __init__(self, name, shared=(6, 4), lonely=False, decay=1e-4):
        self.name, self.decay = name, decay
        start = generator("start")  # the same for all tasks
        arrays = {} if lonely else {"shared.weight": start.standard_normal(shared)}
        arrays[f"{name}.head"] = generator("head", name).standard_normal(5)
        self.parameters = {n: Parameter(a.astype(np.float32)) for n, a in arrays.items()}
        self.buffers = {"mean": np.zeros(3, np.float32), "count": np.zeros((), np.int64)}

    def lr(self, iteration):
        return 0.05 / (1 + 0.01 * iteration) * (1 + len(self.name) % 3)

    def backward(self, iteration):
        """Fills .grad; depends on W, on the buffers and on the iteration, so any slip shows."""
        rng = generator("data", self.name, iteration)
        self.buffers["mean"] *= np.float32(0.9)
        self.buffers["mean"] += rng.standard_normal(3).astype(np.float32)
        self.buffers["count"] += 1
        bias = np.float32(self.buffers["mean"].sum() / 10)
        for parameter in self.parameters.values():
            noise = rng.standard_normal(parameter.shape).astype(np.float32)
            parameter.grad = np.float32(0.1) * parameter.data + noise + bias
        if iteration % 7 == 3:
            self.parameters[f"{self.name}.head"].grad = None  # the head rests now and then

    def optimizer(self, server, **options):
        return RemoteMomentum(
            self.parameters.items(), self.lr(0), weight_decay=self.decay, task=self.name,
            server=server, buffers=self.buffers, **options,
        )  # fmt: skip

    def train(self, optimizer, iterations, delay=lambda iteration: None):
        """The loop that every site must have: driven by ``optimizer.iteration``."""
        while True:
            while optimizer.iteration < iterations:
                delay(optimizer.iteration)
                optimizer.lr = self.lr(optimizer.iteration)
                self.backward(optimizer.iteration)
                optimizer.step({"loss": 1.0})
            if optimizer.finish():
                return

    def digest(self):
        digest = hashlib.sha256()
        for arrays in (self.parameters, self.buffers):
            for name in sorted(arrays):
                array = arrays[name].data if name in self.parameters else arrays[name]
                digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def run_together(toys, server, iterations):
    """All toys on a LocalServer, one after the other: what everything else must equal."""
    optimizers = [toy.optimizer(server, start=False) for toy in toys]
    for optimizer in optimizers:
        optimizer.start()
    for iteration in range(iterations):
        for toy, optimizer in zip(toys, optimizers, strict=True):
            optimizer.lr = toy.lr(iteration)
            toy.backward(iteration)
            optimizer.commit()
        for optimizer in optimizers:
            optimizer.pull()
    return [toy.digest() for toy in toys]


def run_threads(jobs, timeout=30):
    """Run functions in threads; raises the first exception, or if one does not end in time."""
    problems = []

    def guard(job):
        try:
            job()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=guard, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    while not problems and any(t.is_alive() for t in threads) and time.monotonic() < deadline:
        time.sleep(0.005)
    if problems:
        raise problems[0]
    assert not any(thread.is_alive() for thread in threads), "a site hangs"


# The same idea as tasks for ``multitask.run``; at the top level, so that processes can import them.


class ToyNetwork(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.shared = nn.Parameter(np.zeros(12, np.float32))
        nn.init.normal_(self.shared)
        setattr(self, head, nn.Parameter(np.zeros(5, np.float32)))
        self.register_buffer("mean", np.zeros(12, np.float32))
        self.register_buffer("count", np.zeros((), np.int64))

    def forward(self, name, iteration):
        rng = generator("data", name, iteration)
        drawn = nn.init.generator().standard_normal(12)  # as dropout would
        data = (rng.standard_normal(12) + 0.1 * drawn).astype(np.float32)
        self.mean[...] = np.float32(0.9) * self.mean + np.float32(0.1) * data
        self.count += 1
        head = getattr(self, f"head_{name}")
        return ((self.shared * data + self.mean) ** 2).mean() + ((head - float(data[0])) ** 2).sum()


class ToyLoss:
    def __init__(self, name, seconds=0.0):
        self.name, self.seconds = name, seconds

    def __call__(self, model, iteration):
        time.sleep(self.seconds)
        return {"square": model(self.name, iteration)}


def falling(iteration):
    return 0.05 / (1 + 0.01 * iteration)


def explode(model, iteration):
    if iteration == 2:
        raise ZeroDivisionError("as planned")
    return model("a", iteration)


def die(model, iteration):
    os.kill(os.getpid(), signal.SIGKILL)


def toy_task(name, seconds=0.0, **changes):
    settings = {
        "model": functools.partial(ToyNetwork, f"head_{name}"),
        "loss": ToyLoss(name, seconds),
        "lr": falling,
        "weight_decay": 1e-4,
    }
    return Task(name, **{**settings, **changes})
