"""The reference: every public name with its signature and its docstring, a page for each package.

A package's names are those of its ``__all__``; where it has none, the functions and classes of its
files. Each is told once, on the page of the innermost package that has it; other pages lead there.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from book.cells import coloured
from book.docstrings import document, summary
from book.prose import Section
from nn.table import Table

PACKAGES = (
    *("nn", "nn.functional", "nn.layers", "nn.optim", "nn.init", "nn.models", "nn.inference"),
    *("detector", "detector.boxes", "detector.parts", "detector.necks", "detector.heads"),
    *("detector.detectors", "detector.datasets", "detector.evaluation", "detector.training"),
    "multitask",
)
MOST_LETTERS = 88  # of a signature on one line


@dataclass
class Page:
    """The page of one package, rendered."""

    package: str
    summary: str
    body: str
    sections: list[Section]

    @property
    def file(self) -> str:
        return f"{self.package}.html"


def public_names(package: str) -> dict[str, object]:
    """What a package offers."""
    module = importlib.import_module(package)
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    files = [module]
    if hasattr(module, "__path__"):
        below = pkgutil.walk_packages(module.__path__, f"{package}.")
        files += [importlib.import_module(entry.name) for entry in below]
    return {
        name: thing
        for file in files
        for name, thing in vars(file).items()
        if not name.startswith("_")
        and (isinstance(thing, Table) or inspect.isclass(thing) or inspect.isfunction(thing))
        and (isinstance(thing, Table) or thing.__module__ == file.__name__)
    }


def home(package: str, name: str, thing: object, packages: Sequence[str] = PACKAGES) -> str:
    """The innermost package that has a thing of ``package``."""
    if isinstance(thing, ModuleType):
        return package
    origin = getattr(thing, "__module__", package)
    inner = [other for other in packages if f"{origin}.".startswith(f"{other}.")]
    inner = [other for other in inner if public_names(other).get(name) is thing]
    return max([package, *inner], key=len)


def address(package: str, name: str, thing: object) -> str:
    """Where a name of a package is told."""
    if isinstance(thing, ModuleType) and thing.__name__ in PACKAGES:
        return f"{thing.__name__}.html"
    return f"{home(package, name, thing)}.html#{name}"


def make_page(package: str) -> Page:
    """The page of a package: what there is, then each in full, by the file that it lies in."""
    module, names = importlib.import_module(package), public_names(package)
    sections = [Section(package, 1, "top", [inspect.getdoc(module) or ""])]
    rows = "".join(
        f'<tr><td><a href="{address(package, name, thing)}"><code>{name}</code></a></td>'
        f"<td>{about(thing)}</td></tr>"
        for name, thing in sorted(names.items(), key=lambda row: row[0].lower())
    )
    parts = [f"<h1>{package}</h1>", document(module), f'<table class="names">{rows}</table>']
    own = {name: thing for name, thing in names.items() if is_told(package, name, thing)}
    for file in dict.fromkeys(map(file_of, own.values())):
        title = file.removeprefix(f"{package}.") if file else "values"
        if file != package:
            parts.append(f"<h2>{title}</h2>")
            if file:
                parts.append(document(importlib.import_module(file)))
        for name, thing in own.items():
            if file_of(thing) == file:
                parts.append(entry(name, thing))
                words = [name, inspect.getdoc(thing) or "", *(n for n, _ in methods(thing))]
                sections.append(Section(name, 3, name, words))
    return Page(package, summary(module), "\n".join(parts), sections)


def is_told(package: str, name: str, thing: object) -> bool:
    """Whether the page of ``package`` is the one that tells of a thing."""
    return address(package, name, thing) == f"{package}.html#{name}"


def file_of(thing: object) -> str:
    """The module in which a thing is made; "" for plain values."""
    if isinstance(thing, ModuleType):
        return thing.__name__.rpartition(".")[0]
    return thing.__module__ if inspect.isclass(thing) or inspect.isfunction(thing) else ""


def entry(name: str, thing: object) -> str:
    """One name in full."""
    if isinstance(thing, ModuleType):
        return f'<h3 id="{name}"><code>{name}</code></h3>{document(thing)}'
    if not callable(thing):
        return f'<h3 id="{name}"><code>{name}</code></h3><p>{about(thing)}</p>{rows_of(thing)}'
    kind = "class " if inspect.isclass(thing) else ""
    parts = [
        f'<h3 id="{name}"><code>{name}</code></h3>',
        f'<pre class="signature"><code>{coloured(kind + signature(name, thing))}</code></pre>',
        document(thing),
    ]
    for own, method in methods(thing):
        is_value = isinstance(method, property)
        line = own if is_value else signature(own, method)
        parts.append(
            f'<div class="method" id="{name}.{own}">'
            f'<pre class="signature"><code>{coloured(line)}</code></pre>{document(method)}</div>'
        )
    return "\n".join(parts)


def about(thing: object) -> str:
    """One line about a thing; of a plain value, what it is."""
    if callable(thing) or isinstance(thing, ModuleType):
        return summary(thing)
    if isinstance(thing, Table):
        return f"The table of names of each {thing.what}."
    return f"<code>{html.escape(repr(thing))}</code>"


def rows_of(thing: object) -> str:
    """The rows of a table, with a line about each."""
    if not isinstance(thing, Table):
        return ""
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{thing.line(name) or about(thing[name])}</td></tr>"
        for name in thing
    )
    return f"<table>{rows}</table>"


def methods(thing: object) -> Iterator[tuple[str, object]]:
    """The public methods and computed values that a class has of its own, bound as it offers them.

    Those that only do what their name says in every class, without a word about it, are left out.
    """
    for name, value in vars(thing).items() if inspect.isclass(thing) else ():
        is_method = inspect.isfunction(value) or isinstance(value, classmethod | staticmethod)
        if name.startswith("_") or not (is_method or isinstance(value, property)):
            continue
        method = value if isinstance(value, property) else getattr(thing, name)
        if inspect.getdoc(method):
            yield name, method


class Plain(str):
    """Shown in a signature as it stands."""

    __repr__ = str.__str__


def signature(name: str, thing: object) -> str:
    """``name(arguments) -> result`` as in the source, on several lines if it is long."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        return f"{name}(...)"
    parameters = [
        each.replace(annotation=_annotation(each), default=_default(each))
        for each in found.parameters.values()
        if each.name not in ("self", "cls")
    ]
    result = found.return_annotation
    if inspect.isclass(thing) or result is inspect.Signature.empty:
        result = inspect.Signature.empty
    elif isinstance(result, str):
        result = Plain(result)
    line = f"{name}{found.replace(parameters=parameters, return_annotation=result)}"
    if len(line) <= MOST_LETTERS or not parameters:
        return line
    inside = "".join(f"    {part},\n" for part in _parts(parameters))
    arrow = line[line.rindex(")") :] if result is inspect.Signature.empty else f") -> {result}"
    return f"{name}(\n{inside}{arrow}"


def _parts(parameters: Sequence[inspect.Parameter]) -> Iterator[str]:
    """The parameters one by one, with the star before those that are given by name only."""
    has_star = False
    for each in parameters:
        has_star |= each.kind is inspect.Parameter.VAR_POSITIONAL
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not has_star:
            has_star = True
            yield "*"
        yield str(each)


def _annotation(parameter: inspect.Parameter) -> object:
    kind = parameter.annotation
    return Plain(kind) if isinstance(kind, str) else kind


def _default(parameter: inspect.Parameter) -> object:
    """A default as one would write it, settings without their many numbers."""
    default = parameter.default
    if default is inspect.Parameter.empty or isinstance(default, str | int | float | tuple):
        return default
    if dataclasses.is_dataclass(default):
        return Plain(f"{type(default).__name__}(...)")
    return Plain(getattr(default, "__name__", repr(default)))
