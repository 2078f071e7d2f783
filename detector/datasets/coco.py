"""Reads annotations in COCO's JSON format.

pycocotools reads it too, but takes everything in it for right. Here every entry is looked at
(``coco_entries.py``); one that is not sound becomes a ``Problem`` and is left out, so that all
mistakes of a file are found at once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.datasets.box_checks import check_box
from detector.datasets.coco_entries import REQUIRED, kind, sound_entries
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.problems import Problem
from detector.errors import UserError

MAX_BYTES = 2**30  # Python needs about six times as much memory to read it


def read_coco(path: Path, image_folders: Sequence[Path]) -> Dataset:
    """The data set of one ``instances_*.json``.

    Boxes ``[x, y, width, height]`` become corners, clipped to the image. Classes are ordered by
    category id, images as in the file. ``iscrowd`` 1 makes an annotation a region to ignore.

    Args:
        path: the file.
        image_folders: where the images may be; the first one that holds the first image counts.

    Returns:
        All that is sound; what is not stands in ``.problems``. Other images are not looked for.

    Raises:
        UserError: the file cannot be read, is no JSON, or is not an object with the three lists.
    """
    return CocoReader(path, image_folders).dataset()


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
    return document


class CocoReader:
    """The state of reading one file."""

    def __init__(self, path: Path, image_folders: Sequence[Path]):
        self.path, self.image_folders = path, list(image_folders)
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
        categories = {entry["id"]: entry["name"] for _, entry in self.sound_entries("categories")}
        ids = defaultdict(list)
        for number, name in categories.items():
            ids[name].append(str(number))
        for name, numbers in ids.items():
            if len(numbers) > 1:
                self.complain(f"the categories {', '.join(numbers)} are all called {name!r}")
        return categories

    def images(self) -> list[ImageRecord]:
        """The images in the order of the file."""
        # Files written on Windows may separate folders its way.
        entries = [
            {**entry, "file_name": entry["file_name"].replace("\\", "/")}
            for _, entry in self.sound_entries("images")
        ]
        names = [entry["file_name"] for entry in entries]
        folder = self.image_folder(names[0] if names else "")
        seen: dict[str, int] = {}
        for entry in entries:
            first = seen.setdefault(entry["file_name"], entry["id"])
            if first != entry["id"]:
                why = f"{entry['file_name']} is also image {first} (both are kept)"
                self.complain(why, f"image {entry['id']}", fatal=False)
        return [
            ImageRecord(entry["id"], folder / entry["file_name"], entry["width"], entry["height"])
            for entry in entries
        ]

    def image_folder(self, name: str) -> Path:
        """The folder with this image; if none has it the first that exists."""
        folders = [folder for folder in self.image_folders if folder.is_dir()]
        if not folders:
            looked = ", ".join(str(folder) for folder in self.image_folders)
            raise UserError(f"there are no images for {self.path}: looked for a folder {looked}")
        return next((folder for folder in folders if (folder / name).is_file()), folders[0])

    def annotations(self, images: list[ImageRecord], category_ids: list[int]) -> np.ndarray:
        """The sound annotations as rows of dtype ``ANNOTATION``."""
        position = {record.id: i for i, record in enumerate(images)}
        label = {number: k for k, number in enumerate(category_ids, start=1)}
        listed = {key: self.listed_ids(key) for key in ("images", "categories")}
        rows = []
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
            if checked.corners is not None:
                area = entry.get("area", width * height)
                crowd = bool(entry.get("iscrowd", 0))
                place = position[image_id]
                rows.append((entry["id"], place, label[category_id], checked.corners, area, crowd))
        if sticking_out > max(3, len(rows) / 2):
            self.complain(
                f"{sticking_out} of {len(self.document['annotations'])} boxes stick out of their "
                "images: are they two corners? COCO's bbox is x, y, width, height"
            )
        return np.array(rows, ANNOTATION)

    def listed_ids(self, key: str) -> set:
        """The ids of all entries, sound or not: one fault should not make others of its own."""
        return {
            entry["id"]
            for entry in self.document[key]
            if isinstance(entry, dict) and type(entry.get("id")) is int
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
