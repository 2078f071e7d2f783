"""Runs in the kernel of a hand-in, after the cell of an answer: what our check says of it.

The checks are imported anew, from a folder that the hand-in was not told of: whatever it did to the
module ``exercises`` that it imported itself is without effect here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def judge(names: dict, folder: str, number: str, exercise: str, answer: str, out: str) -> None:
    """Write ``[state, reason]`` into a file: "right", "wrong" or "unanswered", and why.

    Args:
        names: the variables of the hand-in, as they are after the cell.
        folder: which holds our package ``exercises``.
        number: of the chapter.
        exercise: its name.
        answer: the expression whose value is checked.
        out: the file.
    """
    try:
        found = _verdict(names, folder, number, exercise, answer)
    except NameError:
        found = ["unanswered", f"there is no {answer}"]
    except KeyboardInterrupt:
        found = ["wrong", "it does not come to an end"]
    except BaseException as error:  # an answer may raise whatever it likes
        found = ["wrong", f"it stops with {type(error).__name__}"]
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def _verdict(names: dict, folder: str, number: str, exercise: str, answer: str) -> list[str]:
    """What our check says. It is asked and not read: an answer may print whatever it likes."""
    value = eval(answer, dict(names))
    theirs = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_exercises(name)}
    sys.path.insert(0, folder)
    try:
        module = __import__(f"exercises.chapter_{number}", fromlist=["*"])
        state, why = getattr(module, exercise).verdict(value)
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if _is_exercises(name)]:
            del sys.modules[name]
        sys.modules.update(theirs)
    return [state, why if state == "wrong" else ""]


def _is_exercises(name: str) -> bool:
    return name.partition(".")[0] == "exercises"
