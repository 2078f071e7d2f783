"""What each entry of COCO's JSON must look like, and what is read from those that do.

The fields of https://cocodataset.org/#format-data that a detector needs; everything else in the
file (info, licences, segmentations) is passed over. Numbers may be written as other programs write
them (``numbers.py``); what can be found out elsewhere may be missing or null.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

from detector.datasets.files import composed
from detector.datasets.numbers import to_number, to_whole
from detector.datasets.problems import shorten
from detector.datasets.segmentation import box_around

# Each reads a field: the value as the reader wants it, None if it is not what it must be.


def to_side(value: object) -> int | None:
    """0 is what some tools write for a size that they do not know."""
    side = to_whole(value, 1e9)
    return side if side is not None and side >= 0 else None


def to_area(value: object) -> float | None:
    area = to_number(value)
    return area if area is not None and area >= 0 else None


def to_flag(value: object) -> bool | None:
    flag = int(value) if isinstance(value, bool) else to_whole(value)
    return bool(flag) if flag in (0, 1) else None


def to_file_name(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() and "\0" not in value else None


def to_class_name(value: object) -> str | None:
    """Composed, so that a name is the same whether a Mac wrote it or not."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        return composed(value.encode().decode())
    except UnicodeEncodeError:  # half of a letter: no file, no screen takes it
        return None


def to_box(value: object) -> list[float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [to_number(number) for number in value]
    return None if None in numbers else numbers


Rule = tuple[Callable[[object], object], str]

ID: Rule = (to_whole, "a whole number")
SIDE: Rule = (to_side, "a whole number of pixels, 1 or more")
REQUIRED: dict[str, dict[str, Rule]] = {
    "categories": {"id": ID, "name": (to_class_name, "a text")},
    "images": {
        "id": ID,
        "file_name": (to_file_name, "the name of a file inside the folder of images"),
    },
    "annotations": {
        "image_id": ID,
        "category_id": ID,
        "bbox": (to_box, "four finite numbers: x, y, width, height"),
    },
}
OPTIONAL: dict[str, dict[str, Rule]] = {
    "categories": {},
    "images": {"width": SIDE, "height": SIDE},
    "annotations": {"area": (to_area, "a number, 0 or more"), "iscrowd": (to_flag, "0 or 1")},
}
SINGULAR = {"categories": "category", "images": "image", "annotations": "annotation"}


def number_texts(document: dict) -> None:
    """Give numbers to images and categories whose ids are texts, and to what refers to them.

    Changes the document. They follow the numbers that there are, in alphabetical order.
    """
    for key, reference in (("images", "image_id"), ("categories", "category_id")):
        entries = [entry for entry in document[key] if isinstance(entry, dict)]
        ids = [entry.get("id") for entry in entries]
        texts = {text for text in ids if isinstance(text, str) and to_whole(text) is None}
        first = 1 + max((number for number in map(to_whole, ids) if number is not None), default=0)
        numbers = dict(zip(sorted(texts), itertools.count(first), strict=False))
        referring = [entry for entry in document["annotations"] if isinstance(entry, dict)]
        for field, holders in (("id", entries), (reference, referring)) if texts else ():
            for entry in holders:
                if isinstance(entry.get(field), str):
                    entry[field] = numbers.get(entry[field], entry[field])


def sound_entries(
    entries: list, key: str, complain: Callable[[str, str], None]
) -> Iterator[tuple[str, dict]]:
    """The entries of the list under ``key`` whose fields are right and whose id is new.

    Args:
        complain: is called with (what is wrong, the entry's name) for every fault of the others.

    Yields:
        The entry's name for messages, like "image 17", and its fields: those of ``REQUIRED``, those
        of ``OPTIONAL`` (None where they are missing or null) and ``id`` (None for an annotation
        whose id is no whole number: nothing refers to it). A category has its ``supercategory``.
    """
    seen = set()
    for position, entry in enumerate(entries, start=1):
        name = f"{SINGULAR[key]} number {position} of the list"
        if not isinstance(entry, dict):
            complain(f"must be an object, not {kind(entry)}", name)
            continue
        number = to_whole(entry.get("id"))
        if number is not None:
            name = f"{SINGULAR[key]} {number}"
        if key == "annotations" and not entry.get("bbox"):
            box = box_around(entry.get("segmentation"))
            entry = entry if box is None else {**entry, "bbox": box}
        fields = {"id": number, "supercategory": entry.get("supercategory")}
        faults = list(read_fields(entry, key, fields))
        if not faults and number is not None and number in seen:
            faults = [f"the id {number} is used twice"]
        for fault in faults:
            complain(fault, name)
        if not faults:
            seen.add(number)
            yield name, fields


def read_fields(entry: dict, key: str, fields: dict) -> Iterator[str]:
    """Put what is right into ``fields``; yield what is wrong, one sentence each."""
    for field, (read, meaning) in (REQUIRED[key] | OPTIONAL[key]).items():
        value = entry.get(field)
        if value is None and field in OPTIONAL[key]:
            fields[field] = None
        elif field not in entry:
            yield f"the key {field!r} is missing"
        else:
            fields[field] = read(value)
            if fields[field] is None:
                yield f"{field!r} must be {meaning}, not {as_written(value)}"


def as_written(value: object) -> str:
    """The value as it stands in the file, but short."""
    if isinstance(value, list) and len(value) <= 6:
        # No deeper: a file may hold lists in lists in lists.
        return f"[{', '.join(kind(v) if isinstance(v, list) else as_written(v) for v in value)}]"
    if isinstance(value, list | dict):
        return kind(value)
    return shorten(value if isinstance(value, float) else json.dumps(value, ensure_ascii=False))


def kind(value: object) -> str:
    """JSON's name for what Python read, with its article."""
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), "a truth value" if isinstance(value, bool) else "a number")
