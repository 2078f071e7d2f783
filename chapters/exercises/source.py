"""The source of a function or class with all that it needs, wherever it was written.

A cell of a notebook is found by the name that Python gives its code (``linecache`` has the text);
what it takes from other cells by the global names that its code reads.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import linecache
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType


class NoSource(Exception):  # noqa: N818 (it says what is missing, not what broke)
    """There is no text that could be kept; the message says why."""


def whole_source(answer: FunctionType | type, elsewhere: Mapping[object, str] = {}) -> str:
    """A text that defines ``answer`` alone: imports, what it calls, and the answer itself.

    Args:
        elsewhere: the import that stands for a function instead of its text.

    Raises:
        NoSource: it is a lambda, was not written in a cell or a file, or needs an object that no
            line of text stands for.
    """
    imports, parts = [], []
    _collect(answer, imports, parts, {answer}, elsewhere)
    once = ["\n".join(dict.fromkeys(imports)), *dict.fromkeys(parts)]
    return "\n\n\n".join(once).lstrip() + "\n"


def _collect(thing, imports: list[str], parts: list[str], seen: set, elsewhere: Mapping) -> None:
    """Append the definition of ``thing``, behind those of all that it uses."""
    text, names = definition(thing)
    for name in global_names(text):
        if name == thing.__name__ or name not in names or hasattr(builtins, name):
            continue
        value = names[name]
        if isinstance(value, ModuleType):
            short = value.__name__ == name
            imports.append(f"import {value.__name__}" + ("" if short else f" as {name}"))
        elif inspect.isfunction(value) or inspect.isclass(value):
            if value in elsewhere:
                imports.append(f"{elsewhere[value]} as {name}")
            elif _top(value) != _top(thing):
                other = "" if value.__name__ == name else f" as {name}"
                imports.append(f"from {value.__module__} import {value.__name__}{other}")
            elif value not in seen:  # of the same notebook
                seen.add(value)
                _collect(value, imports, parts, seen, elsewhere)
                if value.__name__ != name:
                    parts.append(f"{name} = {value.__name__}")
        elif _is_literal(value):
            parts.append(f"{name} = {value!r}")
        else:
            raise NoSource(f"it uses {name}, a {type(value).__name__} of another cell")
    parts.append(text)


def definition(thing) -> tuple[str, dict]:
    """The lines that define a function or class, and the global names it can see."""
    codes = [thing] if inspect.isfunction(thing) else vars(thing).values()
    function = next((each for each in codes if inspect.isfunction(each)), None)
    if function is None:
        raise NoSource(f"{thing.__name__} has no text")
    function = inspect.unwrap(function)
    source = "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell with a line that only notebooks know, such as %time
        raise NoSource("its cell holds more than Python: put it into one of its own") from None
    lines = source.splitlines()
    for node in reversed(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == thing.__name__:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "\n".join(lines[first - 1 : node.end_lineno]), function.__globals__
    raise NoSource("write it with def or class, at the beginning of a line")


def global_names(text: str) -> list[str]:
    """The names that a definition reads and does not make itself, each once."""
    names = [
        instruction.argval
        for code in _codes(compile(text, "definition", "exec", dont_inherit=True))
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    ]
    return list(dict.fromkeys(names))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _top(thing) -> str:
    return thing.__module__.partition(".")[0]


def _is_literal(value) -> bool:
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False
