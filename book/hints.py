"""The hints of an exercise, folded: whoever reads the book asks for them one by one."""

from __future__ import annotations

import html
import importlib
import re

CHECK = re.compile(r"\bexercises\.(\w+)\.check\(")


def hints(number: str, source: str) -> str:
    """HTML for a cell of chapter ``number`` that asks exercises; "" for any other cell."""
    names = CHECK.findall(source)
    try:
        module = importlib.import_module(f"exercises.chapter_{number}") if names else None
    except ModuleNotFoundError:
        return ""  # a book of other chapters than ours
    return "".join(
        f'<details class="hint"><summary>Hint {index} of {len(exercise.hints)}</summary>'
        f"<p>{html.escape(hint)}</p></details>"
        for name in names
        if (exercise := getattr(module, name, None)) is not None
        for index, hint in enumerate(exercise.hints, 1)
    )
