"""Reads annotations in COCO's JSON format.

pycocotools reads it too, but takes everything in it for right. Here every entry is looked at
(``coco_entries.py``); one that is not sound becomes a ``Problem`` and is left out, so that all
mistakes of a file are found at once.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.datasets.box_checks import are_parts_of_pictures, check_box
from detector.datasets.coco_entries import REQUIRED, as_written, kind, number_texts, sound_entries
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.finding import PictureFinder, is_inside
from detector.datasets.images import read_size
from detector.datasets.numbers import LARGEST, to_whole
from detector.datasets.problems import Problem, shorten
from detector.errors import UserError

MAX_BYTES = 2**30  # Python needs about six times as much memory to read it


def read_coco(path: Path, finder: PictureFinder, siblings: Sequence[Path] = ()) -> Dataset:
    """The data set of one file of annotations.

    Boxes ``[x, y, width, height]`` become corners, clipped to the image. Classes are ordered by
    category id, images as in the file. ``iscrowd`` 1 makes an annotation a region to ignore.

    A category that only groups others, as in Roboflow's exports, or has the name of another is left
    out if it has no annotation in any split.

    Args:
        path: the file.
        finder: of its images.
        siblings: the files of all splits.

    Returns:
        All that is sound; what is not stands in ``.problems``. Other images are not looked for.

    Raises:
        UserError: the file cannot be read, is no JSON, or is not an object with the three lists.
    """
    return CocoReader(path, finder, siblings).dataset()


def read_json(path: Path) -> dict:
    """The JSON object in a file, with the three lists of COCO's format.

    NaN and Infinity, which JSON does not have, pass: they are refused where they stand for a box.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(
                f"{path} is {size / 2**30:.1f} GiB large, more than {MAX_BYTES / 2**30:.0f} GiB: "
                "split it"
            )
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply to be COCO's JSON") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: split it") from None
    except ValueError as error:  # broken JSON, broken UTF-8, a number of thousands of digits
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is not valid JSON ({reason}): write it anew") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} is not COCO's JSON: it must be an object, not {kind(document)}")
    for key in REQUIRED:
        if key not in document:
            raise UserError(f"{path} is not COCO's JSON: the key {key!r} is missing")
        if not isinstance(document[key], list):
            raise UserError(f"{path}: {key!r} must be a list, not {kind(document[key])}")
        if not document[key] and key != "annotations":
            raise UserError(f"{path}: the list {key!r} is empty")
    number_texts(document)
    return document


class CocoReader:
    """The state of reading one file."""

    def __init__(self, path: Path, finder: PictureFinder, siblings: Sequence[Path]):
        self.path, self.finder, self.siblings = path, finder, siblings
        self.document = read_json(path)
        self.problems: list[Problem] = []

    def dataset(self) -> Dataset:
        """Read the three lists, each of which needs the one before."""
        categories = self.categories()
        ids = sorted(categories)
        images = self.images()
        annotations = self.annotations(images, ids)
        classes = [categories[number] for number in ids]
        return Dataset(str(self.path), classes, ids, images, annotations, self.problems)

    def categories(self) -> dict[int, str]:
        """Names by id. Two of one name could not be told apart by ``--classes``."""
        entries = [entry for _, entry in self.sound_entries("categories")]
        categories = {entry["id"]: entry["name"] for entry in entries}
        groups = {
            entry["supercategory"]
            for entry in entries
            if isinstance(entry["supercategory"], str) and entry["supercategory"] != entry["name"]
        }
        ids = defaultdict(list)
        for number, name in categories.items():
            ids[name].append(number)
        doubtful = {n for n, name in categories.items() if name in groups or len(ids[name]) > 1}
        for number in sorted(doubtful - self.used_anywhere()) if doubtful else ():
            name = categories[number]
            twins = len(ids[name]) > 1
            if not twins and name not in groups:
                continue  # the other of its name has just been left out
            why = "has the name of another" if twins else "only groups others"
            why = f"{name!r} {why} and has no box in any split (left out)"
            self.complain(why, f"category {number}", fatal=False)
            del categories[number]
            ids[name].remove(number)
        for name, numbers in ids.items():
            if len(numbers) > 1:
                listed = ", ".join(map(str, numbers))
                self.complain(f"the categories {listed} are all called {name!r}")
        return categories

    def used_anywhere(self) -> set[int]:
        """The ids of the categories that have an annotation in some split."""
        documents = [self.document]
        documents += [read_json(path) for path in self.siblings if path != self.path]
        return {
            to_whole(entry.get("category_id"))
            for document in documents
            for entry in document["annotations"]
            if isinstance(entry, dict)
        }

    def images(self) -> list[ImageRecord]:
        """The images in the order of the file."""
        entries = list(self.sound_entries("images"))
        files, guessed = self.finder.find([entry["file_name"] for _, entry in entries])
        if not any(files) and self.finder.place == self.finder.folder:
            looked = ", ".join(str(place) for place in self.finder.places)
            raise UserError(f"there are no images for {self.path}: looked for a folder {looked}")
        for name, file in list(guessed.items())[:1]:
            self.complain(
                f"{len(guessed)} file names do not lead to their pictures, which were found by how "
                f"they end: {shorten(name)!r} is taken for {file}",
                fatal=False,
            )
        seen: dict[Path, int] = {}
        records = []
        for (name, entry), file in zip(entries, files, strict=True):
            stated = entry["file_name"].replace("\\", "/")
            missing = "" if file else self.finder.why_not(stated)
            if file is None and not is_inside(stated):
                self.complain(
                    "'file_name' must be the name of a file inside the folder of images, not "
                    f"{as_written(entry['file_name'])}: {missing}",
                    name,
                )
                continue
            path = file or self.finder.place / stated
            first = seen.setdefault(path, entry["id"])
            if first != entry["id"]:
                why = f"{entry['file_name']} is also image {first} (both are kept)"
                self.complain(why, name, fatal=False)
            width, height = self.size(name, entry, path, file is not None)
            records.append(ImageRecord(entry["id"], path, width, height, missing))
        return records

    def size(self, name: str, entry: dict, path: Path, is_there: bool) -> tuple[int, int]:
        """Width and height of an image; looked up in the picture where the file has none."""
        if entry["width"] and entry["height"]:
            return entry["width"], entry["height"]
        try:
            return read_size(path)
        except UserError as error:
            if is_there:  # a missing one is reported as such
                self.complain(str(error), name, fatal=False)
            return int(LARGEST), int(LARGEST)  # no box sticks out of it

    def annotations(self, images: list[ImageRecord], category_ids: list[int]) -> np.ndarray:
        """The sound annotations as rows of dtype ``ANNOTATION``."""
        position = {record.id: i for i, record in enumerate(images)}
        label = {number: k for k, number in enumerate(category_ids, start=1)}
        listed = {key: self.listed_ids(key) for key in ("images", "categories")}
        rows, boxes = [], []
        sticking_out = 0
        for name, entry in self.sound_entries("annotations"):
            box = entry["bbox"]
            image_id, category_id = entry["image_id"], entry["category_id"]
            if image_id not in listed["images"]:
                self.complain(f"there is no image {image_id}", name, box)
            if category_id not in listed["categories"]:
                self.complain(f"there is no category {category_id}", name, box)
            if image_id not in position or category_id not in label:
                continue  # also where the image or the category has a fault of its own
            record = images[position[image_id]]
            x, y, width, height = box
            checked = check_box(x, y, x + width, y + height, record.width, record.height)
            sticking_out += checked.sticks_out
            if checked.why:
                name = f"{name} (image {record.path.name})"
                self.complain(checked.why, name, box, checked.fatal, checked.outcome, image_id)
            boxes.append(box)
            if checked.corners is not None:
                area = width * height if entry["area"] is None else entry["area"]
                place, crowd = position[image_id], bool(entry["iscrowd"])
                rows.append((entry["id"], place, label[category_id], checked.corners, area, crowd))
        if sticking_out > max(3, len(rows) / 2):
            self.complain(
                f"{sticking_out} of {len(self.document['annotations'])} boxes stick out of their "
                "images: are they two corners? COCO's bbox is x, y, width, height"
            )
        if are_parts_of_pictures(boxes):
            self.complain(
                "its boxes lie between 0 and 1: are they parts of the picture? COCO's bbox is in "
                "pixels, so multiply x and width by the picture's width, y and height by its height"
            )
        new = itertools.count(1 + max((row[0] for row in rows if row[0] is not None), default=0))
        rows = [(next(new) if row[0] is None else row[0], *row[1:]) for row in rows]
        return np.array(rows, ANNOTATION)

    def listed_ids(self, key: str) -> set:
        """The ids of all entries, sound or not: one fault should not make others of its own."""
        return {
            to_whole(entry.get("id")) for entry in self.document[key] if isinstance(entry, dict)
        }

    def sound_entries(self, key: str):
        return sound_entries(self.document[key], key, self.complain)

    def complain(
        self,
        why: str,
        entry: str = "",
        box: Sequence | None = None,
        fatal: bool = True,
        outcome: str = "",
        image: int | None = None,
    ) -> None:
        box = None if box is None else tuple(box)
        self.problems.append(Problem(str(self.path), why, entry, box, fatal, outcome, image))
