"""Reads annotations in YOLO's format: a text file for each picture, a line for each object.

``class cx cy w h``, where the class counts from 0 and the others are parts of the picture, from 0
to 1 (Redmon's Darknet; https://docs.ultralytics.com/datasets/detect). A line with more numbers is
a polygon ``class x1 y1 x2 y2 ...`` (segmentation, turned boxes), whose bounding box is taken. A
picture without such a file, or with an empty one, shows nothing.

Which pictures there are and what the classes are called, ``yolo_layout.py`` finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from detector.datasets.assembly import Assembly
from detector.datasets.dataset import Dataset
from detector.datasets.files import is_file
from detector.datasets.numbers import to_number, to_whole
from detector.datasets.problems import shorten
from detector.datasets.yolo_layout import YoloLayout, find_layout

MAX_BYTES = 2**26  # of one text file
SLACK = 0.01  # beyond 0 and 1, by rounding and by tools that are off by a pixel


def yolo_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split of a folder in one of YOLO's layouts; {} if it is in another."""
    layout = find_layout(folder)
    if layout is None:
        return {}
    return {name: partial(read_yolo, layout, name) for name in layout.splits}


def read_yolo(layout: YoloLayout, split: str) -> Dataset:
    """The data set of one split; mistakes stand in its ``problems``."""
    names = layout.names
    assembly = Assembly(f"{layout.folder} ({split})", names)
    for file, why in layout.remarks:
        assembly.complain(file, why, fatal=False)
    without = 0
    for path in layout.splits[split]:
        labels = layout.label_files[path]
        if labels is None and (other := other_annotations(path)) is not None:
            assembly.leave_out(path, f"it has no text file, but {other.name}: another format's")
            continue
        image = assembly.picture(path)
        without += labels is None
        if image is None or labels is None:
            continue
        complain = partial(assembly.complain, labels)
        for entry, number, box, written in read_labels(labels, layout.values_after_box, complain):
            if not 0 <= number < len(names):
                last = len(names) - 1
                complain(f"class {number}, but {layout.named_in} names 0 to {last}", entry)
                continue
            left, top, right, bottom = box
            corners = (
                left * image.width, top * image.height, right * image.width, bottom * image.height,
            )  # fmt: skip
            assembly.box(image, names[number], corners, labels, entry, written)
    if without:
        why = f"{without} pictures have no text file (taken for pictures without objects)"
        assembly.complain(layout.folder, why, fatal=False)
    for labels in layout.without_picture(split):
        assembly.leave_out(labels, "there is no picture for it")
    return assembly.dataset()


def other_annotations(picture: Path) -> Path | None:
    """The file beside a picture in which another tool may have described what it shows."""
    return next(filter(is_file, (picture.with_suffix(".xml"), picture.with_suffix(".json"))), None)


def read_labels(
    path: Path, values_after_box: int, complain: Callable[..., None]
) -> Iterator[tuple[str, int, tuple[float, float, float, float], tuple]]:
    """The sound lines of a text file.

    Args:
        values_after_box: how many numbers follow the four of a box (keypoints).
        complain: is called with what is wrong and the line, for every other line.

    Yields:
        "line 3", the class, the corners as parts of the picture, the numbers as they stand there.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return complain(f"is larger than {MAX_BYTES >> 20} MB: it is no list of boxes")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return complain(f"cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        return complain("is no text: it must hold a line 'class x y width height' for each object")
    for count, line in enumerate(text.splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        entry = f"line {count}"
        try:
            number, corners = parse_line(words, values_after_box)
        except ValueError as error:
            complain(str(error), entry)
            continue
        yield entry, number, corners, tuple(words[1:7])


def parse_line(words: Sequence[str], values_after_box: int) -> tuple[int, tuple]:
    """The class and the corners, parts of the picture, of one line.

    Raises:
        ValueError: says what is wrong with it.
    """
    number = to_whole(words[0])
    if number is None:
        raise ValueError(f"a line begins with the number of a class, not {shorten(words[0])!r}")
    values = [to_number(word) for word in words[1:]]
    for value, word in zip(values, words[1:], strict=True):
        if value is None:
            raise ValueError(f"{shorten(word)!r} is no finite number")
    # A box, with the confidence of a detection or with keypoints; or a polygon.
    is_box = len(values) in (4, 5) or (values_after_box and len(values) == 4 + values_after_box)
    if not is_box and (len(values) < 6 or len(values) % 2):
        raise ValueError(
            f"{len(values)} numbers after the class: 4 make a box, 6 or more in pairs a polygon"
        )
    read = values[:4] if is_box else values
    names = ("x", "y", "width", "height") if is_box else ("x", "y")
    for k, value in enumerate(read):
        if not -SLACK <= value <= 1 + SLACK:
            raise ValueError(
                f"{names[k % len(names)]} {value:g}: YOLO's numbers are parts of the picture, 0 to "
                "1, so divide pixels by its width or height"
            )
    if is_box:
        x, y, width, height = read
        return number, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return number, (min(read[0::2]), min(read[1::2]), max(read[0::2]), max(read[1::2]))
