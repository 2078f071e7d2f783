"""Reads annotations in CVAT's own format, "CVAT for images": one XML file for all pictures.

``<image name subset>`` holds ``<box label xtl ytl xbr ybr>``, ``<polygon label points>`` and other
shapes in pixels (https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/). The bounding
box of each is taken; points and lines have none and are left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

from detector.datasets.assembly import Assembly
from detector.datasets.dataset import Dataset
from detector.datasets.files import composed, files_in, is_file
from detector.datasets.finding import PictureFinder, data_folder
from detector.datasets.numbers import to_number
from detector.datasets.problems import shorten
from detector.datasets.splitting import SPLITS, by_split, split_of_file
from detector.datasets.xml_file import parse_xml

GLANCE = 2**12  # bytes, in which its root element begins
SHAPES = ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")


class Entry(NamedTuple):
    """A picture of a file; None, and why, where the file cannot be read."""

    path: Path
    image: Element | None
    why: str = ""


def cvat_splits(place: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split; {} if there is no such file. ``place`` may also be one.

    A split is what CVAT calls a subset, or else what the file is called after.
    """
    folder = data_folder(place) if is_file(place) else place
    files = [place] if is_file(place) else files_in(place, (".xml",))
    splits, classes = defaultdict(list), set()
    for path in filter(looks_like_cvat, files):
        own = split_of_file(path, folder) or "all"
        try:
            root = parse_xml(path)
        except (OSError, ValueError) as error:
            splits[own].append(Entry(path, None, str(error)))
            continue
        for image in root.iter("image"):
            subset = image.get("subset", "")
            splits[SPLITS.get(subset.lower(), subset) or own].append(Entry(path, image))
            classes |= {class_name(shape) for shape in image}
    return {
        name: partial(read_cvat, folder, name, splits[name], sorted(classes - {""}))
        for name in sorted(splits, key=by_split)
    }


def looks_like_cvat(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return b"<annotations" in file.read(GLANCE)
    except OSError:
        return False


def class_name(shape: Element) -> str:
    return composed(shape.get("label", "").strip()) if shape.tag in SHAPES else ""


def read_cvat(
    folder: Path, split: str, entries: Sequence[Entry], classes: Sequence[str]
) -> Dataset:
    """The data set of one split; mistakes stand in its ``problems``."""
    assembly = Assembly(f"{folder} ({split})", classes)
    for entry in entries:
        if entry.image is None:
            assembly.complain(entry.path, entry.why)
    entries = [entry for entry in entries if entry.image is not None]
    subsets = sorted({entry.image.get("subset", "") for entry in entries})
    places = [folder / "images" / subset for subset in subsets] + [folder / "images", folder]
    names = [entry.image.get("name", "") for entry in entries]
    files, _ = PictureFinder(folder, places).find(names)
    for entry, name, file in zip(entries, names, files, strict=True):
        if file is None:
            assembly.leave_out(entry.path, f"there is no picture {shorten(name)}")
            continue
        record = assembly.picture(file)
        for shape in entry.image if record is not None else ():
            if shape.tag in SHAPES:
                add_shape(assembly, record, entry.path, f"image {shorten(name)}", shape)
    return assembly.dataset()


def add_shape(assembly: Assembly, record, path: Path, entry: str, shape: Element) -> None:
    """One shape as a box; a complaint if it is none."""
    name = class_name(shape)
    if not name:
        return assembly.complain(path, "the label of a shape is missing", entry)
    try:
        corners = corners_of(shape)
    except (TypeError, ValueError):
        why = f"{shape.tag} must have finite numbers"
        return assembly.complain(path, why, f"{entry} ({name})")
    if corners is None:
        why = f"{shape.tag} is no box (left out)"
        return assembly.complain(path, why, f"{entry} ({name})", fatal=False)
    assembly.box(record, name, corners, path, entry, corners)


def corners_of(shape: Element) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 of a shape, None for one that has no area.

    Raises:
        TypeError, ValueError: a number is missing or none.
    """
    numbers = {key: to_number(value) for key, value in shape.items()}
    if shape.tag == "box":
        x1, y1, x2, y2 = (numbers.get(key) for key in ("xtl", "ytl", "xbr", "ybr"))
        angle = math.radians(numbers.get("rotation") or 0)  # about its centre
        more_x = (abs(math.cos(angle)) - 1) * (x2 - x1) + abs(math.sin(angle)) * (y2 - y1)
        more_y = (abs(math.cos(angle)) - 1) * (y2 - y1) + abs(math.sin(angle)) * (x2 - x1)
        return x1 - more_x / 2, y1 - more_y / 2, x2 + more_x / 2, y2 + more_y / 2
    if shape.tag == "mask":
        x, y, width, height = (numbers.get(key) for key in ("left", "top", "width", "height"))
        return x, y, x + width, y + height
    if shape.tag == "ellipse":
        x, y, radius_x, radius_y = (numbers.get(key) for key in ("cx", "cy", "rx", "ry"))
        return x - radius_x, y - radius_y, x + radius_x, y + radius_y
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.get("points", "").split(";")]
        xs, ys = zip(*([to_number(value) for value in pair] for pair in pairs), strict=True)
        if None in (*xs, *ys):
            raise ValueError("no number")
        return min(xs), min(ys), max(xs), max(ys)
    return None
