"""What each entry of COCO's JSON must look like, and which ones do.

The fields of https://cocodataset.org/#format-data that a detector needs; everything else in the
file (info, licences, segmentations) is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath, PureWindowsPath

from detector.datasets.problems import shorten

LARGEST = 1e9  # of any coordinate, side or area; NaN and infinity are not below it either


def is_number(value: object) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def is_area(value: object) -> bool:
    return is_number(value) and value >= 0


def is_id(value: object) -> bool:
    return type(value) is int and abs(value) < 2**63


def is_side(value: object) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def is_flag(value: object) -> bool:
    return type(value) in (int, bool) and value in (0, 1)


def is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_file_name(name: object) -> bool:
    """Whether the file stays inside the folder of images, on every operating system."""
    if not is_name(name) or "\0" in name:
        return False
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    is_absolute = posix.is_absolute() or windows.drive or windows.root
    return not is_absolute and ".." not in windows.parts


Rule = tuple[Callable[[object], bool], str]

ID: Rule = (is_id, "a whole number")
SIDE: Rule = (is_side, "a whole number of pixels, 1 or more")
REQUIRED: dict[str, dict[str, Rule]] = {
    "categories": {"id": ID, "name": (is_name, "a text")},
    "images": {
        "id": ID,
        "file_name": (is_file_name, "the name of a file inside the folder of images"),
        "width": SIDE,
        "height": SIDE,
    },
    "annotations": {
        "id": ID,
        "image_id": ID,
        "category_id": ID,
        "bbox": (is_box, "four finite numbers: x, y, width, height"),
    },
}
OPTIONAL: dict[str, dict[str, Rule]] = {
    "categories": {},
    "images": {},
    "annotations": {"area": (is_area, "a number, 0 or more"), "iscrowd": (is_flag, "0 or 1")},
}
SINGULAR = {"categories": "category", "images": "image", "annotations": "annotation"}


def sound_entries(
    entries: list, key: str, complain: Callable[[str, str], None]
) -> Iterator[tuple[str, dict]]:
    """The entries of the list under ``key`` whose fields are right and whose id is new.

    Args:
        complain: is called with (what is wrong, the entry's name) for every fault of the others.

    Yields:
        The entry's name for messages, like "image 17", and the entry.
    """
    seen = set()
    for position, entry in enumerate(entries, start=1):
        name = f"{SINGULAR[key]} number {position} of the list"
        if not isinstance(entry, dict):
            complain(f"must be an object, not {kind(entry)}", name)
            continue
        if is_id(entry.get("id")):
            name = f"{SINGULAR[key]} {entry['id']}"
        faults = list(field_faults(entry, key))
        if not faults and entry["id"] in seen:
            faults = [f"the id {entry['id']} is used twice"]
        for fault in faults:
            complain(fault, name)
        if not faults:
            seen.add(entry["id"])
            yield name, entry


def field_faults(entry: dict, key: str) -> Iterator[str]:
    """What is wrong with an entry's fields, one sentence each."""
    for field, (is_right, meaning) in REQUIRED[key].items():
        if field not in entry:
            yield f"the key {field!r} is missing"
        elif not is_right(entry[field]):
            yield f"{field!r} must be {meaning}, not {as_written(entry[field])}"
    for field, (is_right, meaning) in OPTIONAL[key].items():
        if field in entry and not is_right(entry[field]):
            yield f"{field!r} must be {meaning}, not {as_written(entry[field])}"


def as_written(value: object) -> str:
    """The value as it stands in the file, but short."""
    if isinstance(value, list) and len(value) <= 6:
        # No deeper: a file may hold lists in lists in lists.
        return f"[{', '.join(kind(v) if isinstance(v, list) else as_written(v) for v in value)}]"
    if isinstance(value, list | dict):
        return kind(value)
    return shorten(value if isinstance(value, float) else json.dumps(value))


def kind(value: object) -> str:
    """JSON's name for what Python read, with its article."""
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null"}
    return names.get(type(value), "a truth value" if isinstance(value, bool) else "a number")
