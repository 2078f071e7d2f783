"""The two kinds of things the update core keeps: members (tasks) and segments (stretches of names).

A *segment* is a run of names, neighbours in the common order of ``layout``, that the same tasks
registered with the same type. Its weights are contiguous, and so is its part of each of these
tasks' contributions, so that a network of 300 names is summed and stepped in a few long loops.
"""

from __future__ import annotations

import numpy as np

from multitask.core.layout import Layout, sort_key
from multitask.core.registration import Registration
from multitask.core.rules import Rule

# Whether a task is part of the training, and if not, why not.
HERE, FINISHED, GIVEN_UP = "", "finished", "given up"


class Member:
    """One task: its last commit, its buffers, and the session that may commit for it.

    Attributes:
        segments: those it is a member of, in the common order; known once training starts.
    """

    def __init__(self, registration: Registration):
        self.registration: Registration | None = registration
        self.task = registration.task
        self.parameters, self.buffers = registration.parameters, registration.buffers
        self.digest = registration.digest()
        self.buffer_values = registration.buffer_values.copy()
        self.contributions = np.empty(0, np.uint8)
        self.absent: frozenset[str] = frozenset()
        self.committed = -1
        self.is_known = False  # whether ``contributions`` are those of the last commit
        self.left = HERE
        self.nonce: int | None = None
        self.segments: list[Segment] = []

    def start(self) -> None:
        self.contributions = np.zeros(self.parameters.nbytes, np.uint8)
        self.registration = None  # its initial values are in the arenas now

    def take(
        self,
        iteration: int,
        contributions: np.ndarray,
        absent: frozenset[str],
        buffers: np.ndarray,
    ) -> None:
        self.contributions[:] = contributions
        self.buffer_values[:] = buffers
        self.absent = absent
        self.committed = iteration
        self.is_known = True

    def holds(self, contributions: np.ndarray, absent: frozenset[str], buffers: np.ndarray) -> bool:
        """Whether the last commit was exactly this."""
        return (
            self.is_known
            and self.absent == absent
            and np.array_equal(self.contributions, contributions)
            and np.array_equal(self.buffer_values, buffers)
        )


class Segment:
    """A run of names that step together.

    Attributes:
        members: the tasks that registered them, in ascending order.
        weight: (nbytes,) uint8, W of all names one after the other.
        state: the rule's arrays, as large as ``weight``.
        version: how many iterations are done.
        updates: of each name, in how many of them it had a contribution.
    """

    def __init__(self, layout: Layout, members: list[Member], rule: Rule):
        self.layout, self.members = layout, members
        self.names = list(layout)
        self.dtype = layout[self.names[0]].dtype
        self.weight = np.zeros(layout.nbytes, np.uint8)
        self.state = {name: np.zeros(layout.nbytes, np.uint8) for name in rule.state}
        self.version = 0
        self.updates = dict.fromkeys(self.names, 0)
        self._offsets = [member.parameters[self.names[0]].begin for member in members]

    def views(self) -> dict[str, np.ndarray]:
        return self.layout.views(self.weight)

    def is_ready(self) -> bool:
        """All tasks have committed this version, or have left; and at least one has committed."""
        have = [member.committed >= self.version for member in self.members]
        left = [member.left for member in self.members]
        return any(have) and all(h or gone for h, gone in zip(have, left, strict=True))

    def step(self, rule: Rule) -> None:
        """Sum the contributions in the order of the tasks and let the rule update W."""
        absent = {name for member in self.members for name in member.absent}
        counts = set(self.updates.values()) if _counts_updates(rule) else {0}
        if rule.elementwise and absent.isdisjoint(self.names) and len(counts) == 1:
            self._step_stretch(rule, 0, self.layout.nbytes, self.names)
        else:
            for name, entry in self.layout.entries.items():
                self._step_stretch(rule, entry.begin, entry.end, [name])
        self.version += 1

    def _step_stretch(self, rule: Rule, begin: int, end: int, names: list[str]) -> None:
        parts = [
            member.contributions[offset + begin : offset + end].view(self.dtype)
            for member, offset in zip(self.members, self._offsets, strict=True)
            if member.committed >= self.version and member.absent.isdisjoint(names)
        ]
        if not parts:
            return
        total = parts[0] if len(parts) == 1 else parts[0].copy()
        for part in parts[1:]:
            total += part
        weight = self.weight[begin:end].view(self.dtype)
        state = [array[begin:end].view(self.dtype) for array in self.state.values()]
        count = [self.updates[names[0]]] if _counts_updates(rule) else []
        rule.step(weight, state, total, self.version, *count)
        for name in names:
            self.updates[name] += 1


def _counts_updates(rule: Rule) -> bool:
    return getattr(rule, "counts_updates", False)


def lay_out(members: list[Member], rule: Rule) -> list[Segment]:
    """All names of all members as segments; the members are in ascending order."""
    owners: dict[str, list[Member]] = {}
    for member in members:
        for name in member.parameters:
            owners.setdefault(name, []).append(member)
    entries = {name: owned[0].parameters[name] for name, owned in owners.items()}
    ordered = sorted(entries, key=lambda name: sort_key(name, entries[name].dtype.str))
    runs: list[list[str]] = []
    for name in ordered:
        last = runs[-1][-1] if runs else None
        if last and owners[last] == owners[name] and entries[last].dtype == entries[name].dtype:
            runs[-1].append(name)
        else:
            runs.append([name])
    segments = []
    for run in runs:
        layout = Layout([(name, entries[name].dtype.str, entries[name].shape) for name in run])
        segments.append(Segment(layout, owners[run[0]], rule))
        for member in owners[run[0]]:
            member.segments.append(segments[-1])
    return segments
