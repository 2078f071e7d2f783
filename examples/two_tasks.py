"""Two tasks that share one layer, each in a process of its own, around a parameter server.

    python examples/two_tasks.py

One task learns the sine, the other the absolute value, from noisy points. Each has a network, data
and a learning rate of its own; both networks have a layer called ``shared``, and what is called the
same is the same: the server adds up what both contribute to it.
"""

import functools
import hashlib

import numpy as np

import multitask
import nn
from nn import functional as F

TARGETS = {"sine": np.sin, "absolute": np.abs}
ITERATIONS = 300


class Network(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.shared = nn.Linear(1, 32)  # made first, so it starts from the same values in both
        setattr(self, head, nn.Linear(32, 1))
        self.name_of_head = head

    def forward(self, x):
        return getattr(self, self.name_of_head)(F.relu(self.shared(x)))


def loss(name, network, iteration):
    """The mean squared error on 64 points that depend on the task and the iteration alone."""
    rng = np.random.default_rng([iteration, len(name)])
    x = rng.uniform(-3, 3, (64, 1)).astype(np.float32)
    y = TARGETS[name](x) + rng.normal(0, 0.05, x.shape).astype(np.float32)
    return ((network(nn.Tensor(x)) - y) ** 2).mean()


def tasks():
    return [
        multitask.Task(name, functools.partial(Network, name), functools.partial(loss, name), lr)
        for name, lr in (("sine", 0.02), ("absolute", 0.01))
    ]


def fingerprint(result):
    weights = b"".join(result.parameters[name].tobytes() for name in sorted(result.parameters))
    return hashlib.sha256(weights).hexdigest()[:16]


if __name__ == "__main__":
    result = multitask.run(tasks(), ITERATIONS)  # a server and two sites: three processes
    for name in sorted(TARGETS):
        told = result.history[name]
        print(f"{name:8}  loss {told[0]['loss']:.3f} -> {told[-1]['loss']:.3f}")
    print("parameters:", ", ".join(sorted(result.parameters)))

    # The same in one process, one task after the other: the very same bits.
    alone = multitask.run(tasks(), ITERATIONS, processes=False)
    print(fingerprint(result), "from three processes")
    print(fingerprint(alone), "from one")
