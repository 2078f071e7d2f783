"""What a task brings when it joins: names, shapes, types and initial values; and who disagrees.

A *parameter* is shared by all tasks that register its name and is updated by the server. A *buffer*
(the running statistics of batch norm) belongs to its task alone; the server only keeps it safe.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

import numpy as np

from multitask.core.layout import BUFFER_DTYPES, MAX_BYTES, Layout
from multitask.errors import (
    InitialValueConflictError,
    NonFiniteError,
    RegistrationError,
    ShapeConflictError,
)

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
POLICIES = ("error", "lowest-task", "owner=TASK")


class Registration:
    """One task's names with their initial values.

    Args:
        task: its name; the tasks are summed in the alphabetical order of their names.
        parameters, buffers: layouts of the two kinds of arrays.
        values, buffer_values: their initial contents, flat uint8 buffers of these layouts.

    Raises:
        RegistrationError: the name of the task cannot be used, or there is nothing to learn.
        NonFiniteError: an initial value is NaN or infinite.
    """

    def __init__(
        self,
        task: str,
        parameters: Layout,
        values: np.ndarray,
        buffers: Layout,
        buffer_values: np.ndarray,
    ):
        check_task_name(task)
        if not parameters.nbytes:
            raise RegistrationError(f"task {task} registers no parameter")
        if parameters.nbytes + buffers.nbytes > MAX_BYTES:
            raise RegistrationError(f"task {task} needs more than {MAX_BYTES} bytes")
        spoilt = non_finite_names(parameters, values)
        if spoilt:
            raise NonFiniteError(f"task {task} starts from NaN or infinity in {_listed(spoilt)}")
        self.task, self.parameters, self.buffers = task, parameters, buffers
        self.values, self.buffer_values = values, buffer_values

    @classmethod
    def of(
        cls,
        task: str,
        parameters: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray] | None = None,
    ) -> Registration:
        """The registration of a task that holds these arrays; they are copied."""
        layout, kept = Layout.of(parameters), Layout.of(buffers or {}, BUFFER_DTYPES)
        return cls(task, layout, layout.pack(parameters), kept, kept.pack(buffers or {}))

    def digest(self) -> str:
        """What a task that comes back must have in common with the one that left."""
        text = f"{self.task} {self.parameters.digest()} {self.buffers.digest()}"
        return hashlib.sha256(text.encode()).hexdigest()


def check_task_name(task: str) -> None:
    """RegistrationError unless a task can have this name."""
    if not TASK_NAME.fullmatch(task):
        raise RegistrationError(
            f"{task[:80]!r} cannot be the name of a task: 1 to 64 letters, digits and any of "
            "_ . - of which the first is a letter or digit"
        )


def check_policy(policy: str) -> None:
    """ValueError unless ``policy`` is one of POLICIES."""
    owner = policy.removeprefix("owner=")
    if policy not in POLICIES[:2] and (owner == policy or not TASK_NAME.fullmatch(owner)):
        raise ValueError(f"on_conflict {policy!r} is not one of {', '.join(POLICIES)}")


def check_shapes(new: Registration, others: list[Registration]) -> None:
    """ShapeConflictError if a name of ``new`` has another shape or type elsewhere."""
    for other in others:
        for name in new.parameters:
            if name not in other.parameters.entries:
                continue
            ours, theirs = new.parameters[name], other.parameters[name]
            if ours[:2] != theirs[:2]:
                raise ShapeConflictError(
                    f"{name} is {ours.dtype} {ours.shape} in task {new.task} but "
                    f"{theirs.dtype} {theirs.shape} in task {other.task}: "
                    "give both the same network, or rename one of the two"
                )


def initial_values(registrations: list[Registration], policy: str) -> dict[str, np.ndarray]:
    """The value each name starts from, bytes (nbytes,) uint8.

    Args:
        registrations: in ascending order of the tasks, shapes already checked.
        policy: where tasks disagree, ``"error"``, or ``"lowest-task"``: the first of them counts,
            or ``"owner=TASK"``: that task counts, and for names it lacks the others must agree.

    Raises:
        InitialValueConflictError: naming both tasks.
    """
    owner = policy.removeprefix("owner=")
    chosen: dict[str, np.ndarray] = {}
    source: dict[str, str] = {}
    # The owner goes first; the sort keeps the order of all others.
    for registration in sorted(registrations, key=lambda r: r.task != owner):
        for name, entry in registration.parameters.entries.items():
            value = registration.values[entry.begin : entry.end]
            if name not in chosen:
                chosen[name], source[name] = value, registration.task
            elif policy == "lowest-task" or source[name] == owner:
                continue
            elif not np.array_equal(chosen[name], value):
                raise InitialValueConflictError(
                    f"{name} starts from different values in tasks {source[name]} and "
                    f"{registration.task}: start both from the same weights or seed, or let the "
                    "server choose (on_conflict: lowest-task or owner=TASK)"
                )
    return chosen


def non_finite_names(layout: Layout, buffer: np.ndarray) -> list[str]:
    """Names of the arrays in ``buffer`` that hold NaN or infinity."""
    if all(np.isfinite(stretch).all() for stretch in _stretches(layout, buffer)):
        return []
    return [name for name, view in layout.views(buffer).items() if not np.isfinite(view).all()]


def _stretches(layout: Layout, buffer: np.ndarray):
    """The buffer as one array for each dtype: a few large ones are faster than many small."""
    for dtype in {entry.dtype for entry in layout.entries.values()}:
        entries = [entry for entry in layout.entries.values() if entry.dtype == dtype]
        yield buffer[entries[0].begin : entries[-1].end].view(dtype)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
