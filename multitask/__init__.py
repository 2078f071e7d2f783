"""Distributed multitask learning: the parameter server of the thesis's chapter 3.3.

Tasks with networks, data and learning rates of their own share parameters by name::

    server = multitask.ParameterServer(tasks=2)          # v = beta v + sum_i c_i, W = W - v
    optimizer = multitask.RemoteMomentum(model.named_parameters(), lr=0.1, task="digits",
                                         server=server.address)

From the arithmetic outwards: ``rules`` and ``core`` (pure), ``frames`` and ``protocol`` (bytes),
``peer``, ``coordinator`` and ``server`` (the server), ``site`` and ``remote`` (a task's end),
``task`` and ``launch`` (everything on one machine: ``multitask.run``).
"""

from multitask.core.rules import LARS, Adam, Momentum
from multitask.errors import MultitaskError
from multitask.launch.launch import Launch, Result, run
from multitask.server.policy import Policy
from multitask.server.server import ParameterServer
from multitask.site.local import LocalServer
from multitask.site.remote import RemoteMomentum
from multitask.site.task import Task, TaskSite

__all__ = [
    "LARS",
    "Adam",
    "Launch",
    "LocalServer",
    "Momentum",
    "MultitaskError",
    "ParameterServer",
    "Policy",
    "RemoteMomentum",
    "Result",
    "Task",
    "TaskSite",
    "run",
]
