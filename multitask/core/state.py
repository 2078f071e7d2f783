"""The whole state of an update core as a tree of arrays and plain values, and back.

What ``snapshots`` writes to the disk. The state can be taken at any moment between two calls of the
core, not only when all tasks are at one iteration: commits that still wait for others are part of
it, so a task that comes back goes on after its last accepted commit, whatever the server went
through. Everything is stored by name, so that the files mean something to other tools.
"""

from __future__ import annotations

import numpy as np

from multitask.core.layout import BUFFER_DTYPES, Layout
from multitask.core.registration import Registration
from multitask.core.rules import Rule
from multitask.core.segments import Member, lay_out
from multitask.core.update_core import UpdateCore
from multitask.errors import MultitaskError, SnapshotError

FORMAT = "lighthead-multitask-2"


def snapshot(core: UpdateCore) -> dict:
    """A copy of everything ``core`` holds, except sessions: after a restart all tasks join anew."""
    assert core.started, "there is nothing to keep before the start"
    weights, versions, updates = {}, {}, {}
    state: dict[str, dict] = {name: {} for name in core.rule.state}
    for segment in core.segments:
        weights.update(_copies(segment.layout, segment.weight))
        versions.update(dict.fromkeys(segment.names, segment.version))
        updates.update(segment.updates)
        for name, array in segment.state.items():
            state[name].update(_copies(segment.layout, array))
    return {
        "format": FORMAT,
        "rule": core.rule.describe(),
        "on_conflict": core.on_conflict,
        "weights": weights,
        "state": state,
        "versions": versions,
        "updates": updates,
        "tasks": [_member_tree(core, member) for member in core.members.values()],
    }


def restore(tree: dict, rule: Rule) -> UpdateCore:
    """The core that ``snapshot`` saw.

    Args:
        rule: as then; its functions and schedules are not in the tree.

    Raises:
        SnapshotError: the tree is not a snapshot, or was made with another rule.
    """
    if not isinstance(tree, dict) or tree.get("format") != FORMAT:
        raise SnapshotError("this is not a snapshot of a parameter server, or of another version")
    if tree["rule"] != rule.describe():
        raise SnapshotError(f"the snapshot was made with {tree['rule']}, not {rule.describe()}")
    try:
        core = UpdateCore(rule, tree["on_conflict"])
        core.members = {part["task"]: _member(part) for part in tree["tasks"]}
        core.segments = lay_out(list(core.members.values()), rule)
        for segment in core.segments:
            segment.layout.pack(tree["weights"], segment.weight)
            segment.version = tree["versions"][segment.names[0]]
            segment.updates = {name: tree["updates"][name] for name in segment.names}
            for name, array in segment.state.items():
                segment.layout.pack(tree["state"][name], array)
    except (KeyError, TypeError, ValueError, MultitaskError) as error:
        raise SnapshotError(f"the snapshot contradicts itself: {error!r}") from error
    core.started = True
    return core


def _copies(layout: Layout, buffer) -> dict:
    return {name: view.copy() for name, view in layout.views(buffer).items()}


def _member_tree(core: UpdateCore, member: Member) -> dict:
    # Contributions that have been applied everywhere will not be needed again.
    pending = core.version(member.task) <= member.committed
    return {
        "task": member.task,
        "parameters": member.parameters.specs(),
        "buffer_specs": member.buffers.specs(),
        "buffers": _copies(member.buffers, member.buffer_values),
        "committed": member.committed,
        "left": member.left,
        "absent": sorted(member.absent),
        "contributions": _copies(member.parameters, member.contributions) if pending else None,
    }


def _member(tree: dict) -> Member:
    parameters, buffers = Layout(tree["parameters"]), Layout(tree["buffer_specs"], BUFFER_DTYPES)
    values, kept = np.zeros(parameters.nbytes, np.uint8), buffers.pack(tree["buffers"])
    member = Member(Registration(tree["task"], parameters, values, buffers, kept))
    member.start()
    if tree["contributions"] is not None:
        parameters.pack(tree["contributions"], values)
    member.take(tree["committed"], values, frozenset(tree["absent"]), kept)
    member.is_known = tree["contributions"] is not None
    member.left = tree["left"]
    return member
