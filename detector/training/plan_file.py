"""The plan of a run, beside its results: the same command goes on, another one is told so."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from detector.errors import MALFORMED, UserError
from detector.training.presets import PRESETS, preset
from detector.training.sessions import Session
from nn.files import read_json, write_json


def is_begun(path: Path, plan: Mapping, free: Collection[str] = ()) -> bool:
    """Whether ``path`` holds this plan already; if there is no plan, it does now.

    Args:
        plan: dicts, lists and plain values.
        free: its entries that may change.

    Raises:
        UserError: it holds another plan (names what differs), or no plan.
    """
    now = dict(flattened(json.loads(json.dumps(plan))))
    if not path.exists():
        write_json(path, plan)
        return False
    try:
        before = dict(flattened(of_today(read_json(path))))
    except MALFORMED as error:
        raise UserError(
            f"{path} is no plan any more ({error}): undo what was changed in it, or choose another "
            "--out"
        ) from error
    names = [name for name in {**before, **now} if name.split(".")[0] not in free]
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed:
        name = changed[0]
        raise UserError(
            f"{path.parent} was begun with {name} {before.get(name)}, not {now.get(name)}: choose "
            "another --out, or the options of then"
        )
    return True


def as_begun(path: Path, session: Session) -> Session:
    """The session with what its preset was when the plan in ``path``, if there is one, was begun.

    A later version may give a preset other numbers. What is the preset's today nobody asked for, so
    there the run keeps its own; what was asked for stays, and ``is_begun`` compares it.
    """
    try:
        before = of_today(read_json(path))["session"]
    except (OSError, *MALFORMED):
        return session  # nothing is begun, or ``is_begun`` will say what is wrong
    if before["preset"] != session.preset or session.preset not in PRESETS:
        return session
    now = session.as_dict()
    usual = preset(session.preset).as_dict()
    return Session.from_dict({**now, "recipe": kept(now["recipe"], usual, before["recipe"])})


def kept(now, usual, before):
    """``before`` where ``now`` is as ``usual``, part by part."""
    now, usual = json.loads(json.dumps([now, usual]))
    if now == usual:
        return before
    if all(isinstance(values, Mapping) for values in (now, usual, before)):
        return {name: kept(now[name], usual.get(name), before.get(name)) for name in now}
    return now


def of_today(plan: Mapping) -> Mapping:
    """The plan, its session as this version would have written it."""
    session = plan.get("session")
    if session is None:
        return plan
    whole = Session.from_dict({**session, "seed": session["seed"] or 0}).as_dict()
    return json.loads(json.dumps({**plan, "session": {**whole, "seed": session["seed"]}}))


def flattened(plan: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """``{"a": {"b": 1}}`` as ``("a.b", 1)``."""
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
