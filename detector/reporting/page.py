"""One HTML file from a template of this room, with everything in it: style, plots and pictures."""

from __future__ import annotations

import base64
import io
import os
from functools import cache

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from detector import own_files
from detector.datasets.files import spelled
from nn.files import atomic_file
from nn.printable import printable

MOST_LETTERS = 300  # of a name


def write_page(path: str | os.PathLike, template: str, **values) -> None:
    """Fill a template and write it, complete or not at all.

    Args:
        template: a name in ``templates``; what it is given is escaped unless it is ``Markup``.

    Raises:
        UserError: something lies at ``path`` that is no page of ours.
        OSError: it cannot be written.
    """
    own_files.check_free(path, own_files.is_own_page)
    text = environment().get_template(template).render(mark=Markup(own_files.PAGE), **values)
    with atomic_file(path) as file:
        file.write(text.encode("utf-8", "replace"))


@cache
def environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("detector.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters |= {"figure": figure, "name": name}
    return found


def figure(value: float | None, digits: int = 3) -> str:
    """A number as the tables have it, "–" for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def name(value: object) -> str:
    """A class's or a file's name, whatever is in it, on one line."""
    return printable(spelled(str(value)), MOST_LETTERS)


def embedded(picture: np.ndarray, quality: int = 80) -> str:
    """(H, W, 3) uint8 RGB as the address of a picture that holds it, JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
