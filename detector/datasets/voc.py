"""Reads annotations in Pascal VOC's format: an XML file for each image.

``Annotations/NAME.xml`` belongs to ``JPEGImages/NAME.*`` (or ``images/NAME.*``), and
``ImageSets/Main/SPLIT.txt`` names the images of a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from detector.datasets.box_checks import check_box
from detector.datasets.coco_entries import is_file_name, is_number
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.images import SUFFIXES, read_size
from detector.datasets.problems import Problem, shorten
from detector.datasets.xml_file import parse_xml
from detector.errors import UserError

VAL_PART = 0.2  # of the images, where the data set does not say which
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(folder: Path, split: str) -> Dataset:
    """One split of a data set in VOC's layout.

    Pixels count from 1 and corners include their pixel, so ``(xmin - 1, ymin - 1, xmax, ymax)`` are
    our continuous coordinates. Objects marked ``difficult`` become regions to ignore. VOC has no
    numbers: classes count from 1 in alphabetical order over all splits, images from 1 in
    alphabetical order over the whole folder.

    Args:
        folder: holds ``Annotations``.
        split: one of ``voc_splits(folder)``.

    Returns:
        All that is sound; what is not stands in ``.problems``.

    Raises:
        UserError: a folder is missing, or the split names no image.
    """
    return VocReader(folder).dataset(split)


def voc_splits(folder: Path) -> list[str]:
    """The names of the splits: the files of ``ImageSets/Main``, those for one class left out.

    (``cat_train.txt`` lists which images of "train" show a cat.) Without such files they are
    "train" and "val", see ``split_by_name``.
    """
    lists = sorted(path.stem for path in (folder / "ImageSets" / "Main").glob("*.txt"))
    for_one_class = {name for name in lists if "_" in name and name.rpartition("_")[2] in lists}
    return [name for name in lists if name not in for_one_class] or ["train", "val"]


def split_by_name(names: list[str]) -> dict[str, list[str]]:
    """A fixed split where a data set has none: the fifth with the lowest hashes is for validation.

    It depends on the names alone; a new image hardly changes where the others are.
    """
    by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    val = set(by_hash[: round(VAL_PART * len(names))])
    return {
        "train": [name for name in names if name not in val],
        "val": [name for name in names if name in val],
    }


class VocReader:
    """The state of reading one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.problems: list[Problem] = []
        self.names = sorted(path.stem for path in (folder / "Annotations").glob("*.xml"))
        places = [folder / "JPEGImages", folder / "images"]
        self.image_folder = next((place for place in places if place.is_dir()), None)
        if self.image_folder is None:
            looked = " or ".join(str(place) for place in places)
            raise UserError(f"there are no images for {folder / 'Annotations'}: no folder {looked}")
        self.files: dict[str, Path] = {}
        for path in sorted(self.image_folder.iterdir()):
            if path.suffix.lower() in SUFFIXES:
                self.files.setdefault(path.stem, path)

    def dataset(self, split: str) -> Dataset:
        """Read every file, because the classes are those of all splits."""
        chosen = set(self.split(split))
        images, objects = [], []
        classes: set[str] = set()
        for number, name in enumerate(self.names, start=1):
            path = self.folder / "Annotations" / f"{name}.xml"
            try:
                root = parse_xml(path)
            except (OSError, ValueError) as error:
                if name in chosen:
                    self.complain(path, str(error))
                continue
            classes.update(entry.findtext("name", "").strip() for entry in root.iter("object"))
            if name in chosen:
                record = self.image(number, name, path, root)
                if record is not None:
                    objects += self.objects(len(images), path, root, record)
                    images.append(record)
        ordered = sorted(classes - {""})
        label = {name: k for k, name in enumerate(ordered, start=1)}
        rows = [
            (number, image, label[name], corners, area, difficult)
            for number, (image, name, corners, area, difficult) in enumerate(objects, start=1)
        ]
        ids = range(1, len(ordered) + 1)
        where = f"{self.folder / 'Annotations'} ({split})"
        annotations = np.array(rows, ANNOTATION)
        return Dataset(where, ordered, ids, images, annotations, self.problems, "difficult")

    def split(self, split: str) -> list[str]:
        """The names of the images of a split."""
        path = self.folder / "ImageSets" / "Main" / f"{split}.txt"
        if not path.is_file():
            return split_by_name(self.names)[split]
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        wanted = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
        known = set(self.names)
        for name in wanted:
            if name not in known:
                why = f"there is no {self.folder / 'Annotations'}/{name}.xml"
                self.complain(path, why, f"line {shorten(name)!r}")
        if not wanted:
            raise UserError(f"{path} names no image")
        return wanted

    def image(self, number: int, name: str, path: Path, root: Element) -> ImageRecord | None:
        """The image of an XML file; its size is looked up in the image where the XML has none."""
        stated = root.findtext("filename", "").strip().replace("\\", "/")
        file = self.files.get(name)
        if file is None and is_file_name(stated):
            file = self.image_folder / stated
        if file is None or not file.is_file():
            self.complain(path, f"there is no image {self.image_folder / name}.*")
            return None
        width, height = (to_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
        if width is None or height is None or width < 1 or height < 1:
            try:
                width, height = read_size(file)
            except UserError as error:
                self.complain(path, str(error))
                return None
        return ImageRecord(number, file, int(width), int(height))

    def objects(
        self, image: int, path: Path, root: Element, record: ImageRecord
    ) -> Iterator[tuple[int, str, tuple, float, bool]]:
        """The sound objects: place of the image, class, corners, area, whether to ignore it."""
        for number, entry in enumerate(root.findall("object"), start=1):
            where = f"object {number}"
            name = entry.findtext("name", "").strip()
            if not name:
                self.complain(path, "the name of its class is missing", where)
                continue
            box = tuple(entry.findtext(f"bndbox/{corner}") for corner in CORNERS)
            numbers = [to_number(text) for text in box]
            if None in numbers:
                why = f"bndbox must have four finite numbers: {', '.join(CORNERS)}"
                self.complain(path, why, f"{where} ({name})", box)
                continue
            x1, y1, x2, y2 = numbers
            checked = check_box(x1 - 1, y1 - 1, x2, y2, record.width, record.height)
            if checked.why:
                self.complain(
                    path, checked.why, f"{where} ({name})", box, checked.fatal, checked.outcome,
                    record.id,
                )  # fmt: skip
            if checked.corners is not None:
                left, top, right, bottom = checked.corners
                area = (right - left) * (bottom - top)
                difficult = entry.findtext("difficult", "0").strip() == "1"
                yield image, name, checked.corners, area, difficult

    def complain(
        self,
        path: Path,
        why: str,
        entry: str = "",
        box: tuple | None = None,
        fatal: bool = True,
        outcome: str = "",
        image: int | None = None,
    ) -> None:
        self.problems.append(Problem(str(path), why, entry, box, fatal, outcome, image))


def to_number(text: str | None) -> float | None:
    """The number in an element's text, None if there is no finite one."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if is_number(number) else None
