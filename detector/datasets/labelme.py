"""Reads annotations in LabelMe's format: a JSON file beside each picture.

``shapes``, each with a ``label`` and ``points`` in pixels: two corners of a rectangle, the corners
of a polygon, or the centre of a circle and a point on it (https://github.com/wkentaro/labelme).
The bounding box of the points is taken; points and lines have none and are left out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from detector.datasets.assembly import Assembly
from detector.datasets.coco_entries import as_written, kind, to_class_name
from detector.datasets.dataset import Dataset
from detector.datasets.files import files_below
from detector.datasets.finding import PictureFinder
from detector.datasets.images import SUFFIXES
from detector.datasets.numbers import to_number
from detector.datasets.splitting import by_split, split_of

MAX_BYTES = 2**27  # a file may hold its picture
OUTLINES = ("rectangle", "polygon", "rotation", "mask")


def labelme_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split of a folder of such files; {} if it holds none.

    Folders that are called like splits are the splits.
    """
    files = [path for path in files_below(folder, (".json",)) if looks_like_labelme(path)]
    splits = defaultdict(list)
    for path in files:
        splits[split_of(path.relative_to(folder).parts[:-1]) or "all"].append(path)
    read = cache(read_document)  # for the classes, which are those of all splits, and the boxes
    return {
        name: partial(read_labelme, folder, name, splits[name], files, read)
        for name in sorted(splits, key=by_split)
    }


def looks_like_labelme(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(2**12)
            file.seek(max(0, path.stat().st_size - 2**12))
            text = start + file.read(2**12)
    except OSError:
        return False
    return b'"shapes"' in text or (b'"imagePath"' in text and b'"imageData"' in text)


def class_names(documents: Iterable[dict | str]) -> list[str]:
    """The classes in all that ``read_document`` returned, in alphabetical order."""
    found = (document for document in documents if not isinstance(document, str))
    shapes = (shape for document in found for shape in document["shapes"])
    names = {to_class_name(shape.get("label")) for shape in shapes if isinstance(shape, dict)}
    return sorted(names - {None})


def read_labelme(
    folder: Path,
    split: str,
    files: list[Path],
    everything: list[Path],
    read: Callable[[Path], dict | str],
) -> Dataset:
    """The data set of one split; mistakes stand in its ``problems``."""
    assembly = Assembly(f"{folder} ({split})", class_names(map(read, everything)))
    finder, owned = PictureFinder(folder, [folder]), set()
    for path in files:
        document = read(path)
        if isinstance(document, str):
            assembly.complain(path, document)
            continue
        file = picture_of(path, document, finder)
        if file is None:
            assembly.leave_out(path, "there is no picture for it")
            continue
        owned.add(file)
        image = assembly.picture(file)
        if image is None:
            continue
        for count, shape in enumerate(document["shapes"], start=1):
            add_shape(assembly, image, path, f"shape {count}", shape)
    holders = {path.parent for path in owned}
    pictures = [path for holder in holders for path in files_below(holder, SUFFIXES)]
    idle = len({path for path in pictures if path.parent in holders} - owned)
    if idle:
        why = f"{idle} of {len(owned) + idle} pictures have no JSON file (left out)"
        assembly.complain(folder, why, fatal=False)
    return assembly.dataset()


def read_document(path: Path) -> dict | str:
    """A file's list of ``shapes`` and its ``imagePath``; what is wrong with it if it has none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return f"is larger than {MAX_BYTES >> 20} MB"
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        return f"is not valid JSON ({reason}): write it anew"
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        return "is not LabelMe's: it must have a list of 'shapes'"
    return {key: document.get(key) for key in ("shapes", "imagePath")}  # not the picture


def picture_of(path: Path, document: dict, finder: PictureFinder) -> Path | None:
    """The picture that a file names, or the one beside it of its own name, or else the only one
    below the data folder that is called as the file says."""
    stated = document["imagePath"]
    has_name = isinstance(stated, str) and bool(stated.strip())
    if has_name:
        (file,), _ = PictureFinder(path.parent, [path.parent]).find([stated])
        if file is not None:
            return file
    beside = (path.with_suffix(suffix) for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)))
    file = next((file for file in beside if file.is_file()), None)
    if file is None and has_name:
        (file,), _ = finder.find([stated])
    return file


def add_shape(assembly: Assembly, image, path: Path, entry: str, shape: object) -> None:
    """One shape as a box; a complaint if it is none."""
    if not isinstance(shape, dict):
        return assembly.complain(path, f"must be an object, not {kind(shape)}", entry)
    name = to_class_name(shape.get("label"))
    if name is None:
        return assembly.complain(path, "'label' must be the name of a class", entry)
    form = shape.get("shape_type") or "polygon"
    points = shape.get("points")
    pairs = points if isinstance(points, list) else []
    numbers = [
        [to_number(value) for value in pair]
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2
    ]
    if not numbers or len(numbers) < len(pairs) or any(None in pair for pair in numbers):
        why = f"'points' must be pairs of finite numbers, not {as_written(points)}"
        return assembly.complain(path, why, f"{entry} ({name})")
    xs, ys = zip(*numbers, strict=True)
    if form == "circle" and len(numbers) == 2:
        radius = ((xs[1] - xs[0]) ** 2 + (ys[1] - ys[0]) ** 2) ** 0.5
        xs, ys = (xs[0] - radius, xs[0] + radius), (ys[0] - radius, ys[0] + radius)
    elif form not in OUTLINES or len(numbers) < 2:
        why = f"a {form} of {len(numbers)} points is no box (left out)"
        return assembly.complain(path, why, f"{entry} ({name})", fatal=False)
    corners = min(xs), min(ys), max(xs), max(ys)
    assembly.box(image, name, corners, path, entry, corners)
