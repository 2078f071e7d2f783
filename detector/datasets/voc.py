"""Reads annotations in Pascal VOC's format: an XML file for each image.

In VOC's own layout ``Annotations/NAME.xml`` belongs to ``JPEGImages/NAME.*`` or
``images/NAME.*``, where NAME may have folders in it, and ``ImageSets/Main/SPLIT.txt`` names the
images of a split. LabelImg and Roboflow put the XML beside the pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from detector.datasets.box_checks import are_parts_of_pictures, check_box
from detector.datasets.dataset import ANNOTATION, Dataset, ImageRecord
from detector.datasets.files import composed, files_below, files_in, folders_in
from detector.datasets.finding import PictureFinder
from detector.datasets.images import SUFFIXES, read_size
from detector.datasets.numbers import to_number
from detector.datasets.problems import WITHOUT, Problem, shorten
from detector.datasets.splitting import SPLITS, split_by_name
from detector.datasets.xml_file import parse_xml
from detector.errors import UserError

# What the folders of XML files and of pictures are called, in small letters.
HOLDERS = ("annotations", "annotation", "labels", "xml", "xmls")
PICTURES = ("jpegimages", "images", "image", "imgs", "pictures", "photos")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def voc_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split of a folder in VOC's layout; {} if it is in another.

    The splits are the files of ``ImageSets/Main``, those for one class left out (``cat_train.txt``
    lists which images of "train" show a cat). Without such files see ``split_by_name``.

    Raises:
        UserError: there is no folder of pictures, or there are several data sets.
    """
    holders = voc_folders(folder)
    by_split = {SPLITS.get(holder.name.lower()): holder for holder in holders}
    if len(holders) > 1 and len(by_split) == len(holders) and None not in by_split:
        return {name: partial(read_folder, holder, name) for name, holder in by_split.items()}
    if len(holders) > 1:
        listed = " or ".join(str(place) for place in holders[:4])
        raise UserError(f"{folder} holds several data sets: choose --data {listed}")
    if not holders:
        return {}
    (folder,) = holders
    annotations = annotations_in(folder)
    pictures = pictures_in(folder, annotations)
    xml = by_name(annotations, (".xml",))
    lists = {path.stem: path for path in files_in(folder / "ImageSets" / "Main", (".txt",))}
    whole = {
        name: path
        for name, path in lists.items()
        if "_" not in name or name.rpartition("_")[2] not in lists
    }
    reader = partial(VocReader, folder, annotations, pictures)
    if whole:
        return {name: partial(read_list, reader, name, path) for name, path in whole.items()}
    splits = split_by_name(list(xml))
    return {
        name: partial(read_names, reader, name, names) for name, names in splits.items() if names
    }


def annotations_in(folder: Path) -> Path | None:
    """The folder of XML files, where there is one beside the pictures': one of the usual names, or
    the only one that holds them and no pictures."""
    for place in folders_called(folder, HOLDERS):
        if files_below(place, (".xml",)):
            return place
    holders = [place for place in folders_in(folder) if files_in(place, (".xml",))]
    return holders[0] if len(holders) == 1 and not files_below(holders[0], SUFFIXES) else None


def pictures_in(folder: Path, annotations: Path) -> Path:
    """The folder of pictures beside that of XML files, likewise; or that folder itself.

    Raises:
        UserError: there is none.
    """
    others = [place for place in folders_in(folder) if files_below(place, SUFFIXES)]
    others += [folder] * bool(files_in(folder, SUFFIXES))
    called = folders_called(folder, PICTURES)
    if not called and not others:
        looked = f"{folder / 'JPEGImages'} or {folder / 'images'}"
        raise UserError(f"there are no images for {annotations}: no folder {looked}")
    if called or annotations in others:
        return called[0] if called else annotations
    return others[0] if len(others) == 1 else folder


def folders_called(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """The folders in a folder that are called so in small or large letters, in that order."""
    by_lower = {place.name.lower(): place for place in folders_in(folder)}
    return [by_lower[name] for name in names if name in by_lower]


def voc_folders(folder: Path) -> list[Path]:
    """The folder itself, or those below it that hold ``Annotations``: ``VOCdevkit/VOC2007``,
    ``train`` and ``valid``."""
    if annotations_in(folder) is not None:
        return [folder]
    below = [place for inner in folders_in(folder) for place in (inner, *folders_in(inner))]
    return [place for place in below if annotations_in(place) is not None]


def read_folder(folder: Path, split: str) -> Dataset:
    """All images of a folder that is a split of its own."""
    annotations = annotations_in(folder)
    reader = partial(VocReader, folder, annotations, pictures_in(folder, annotations))
    return read_names(reader, split, list(by_name(annotations, (".xml",))))


def beside_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """The same for XML files beside their pictures, in a folder or in folders below it.

    Folders that are called like splits (``SPLITS``) are the splits.
    """
    names = list(by_name(folder, (".xml",)))
    pictures = by_name(folder, SUFFIXES)
    if not any(name in pictures for name in names):
        return {}
    splits = split_by_name(names)
    holders = {name.partition("/")[0] if "/" in name else "" for name in names}
    if all(holder.lower() in SPLITS for holder in holders):
        splits = {
            holder: [name for name in names if name.startswith(f"{holder}/")]
            for holder in sorted(holders)
        }
    reader = partial(VocReader, folder, folder, folder)
    return {
        name: partial(read_names, reader, name, members)
        for name, members in splits.items()
        if members
    }


def by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files below a folder by their path in it without the suffix, "deep/er/a", sorted."""
    files = files_below(folder, suffixes)
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in reversed(files)}
    return dict(sorted(names.items()))


def read_names(reader: Callable[[], VocReader], split: str, names: list[str]) -> Dataset:
    """The images of these names; says how many pictures have no XML."""
    voc = reader()
    dataset = voc.dataset(split, names)
    idle = len(set(voc.pictures.values()) - voc.used)
    if idle:
        dataset.problems.append(
            Problem(
                str(voc.folder),
                f"{idle} of {len(voc.pictures)} pictures have no XML (left out; a picture without "
                "objects needs an XML without objects, or its name in ImageSets/Main)",
                fatal=False,
            )
        )
    return dataset


def read_list(reader: Callable[[], VocReader], split: str, path: Path) -> Dataset:
    """The images that a file of ``ImageSets/Main`` names, a line each.

    A line may have a suffix (``a.jpg``), a folder in front, or a number after it (``a 1``, as in
    the lists for one class). A picture without XML is one without objects: the list names it.

    Raises:
        UserError: it names none.
    """
    voc = reader()
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names: dict[str, None] = {}
    empty = 0
    for line in filter(None, map(str.strip, lines)):
        name = voc.listed(line)
        if name is None:
            why = f"there is no {voc.annotations}/{shorten(line)}.xml"
            voc.complain(path, why, f"line {shorten(line)!r}", fatal=False, outcome=WITHOUT)
        elif name not in names:
            empty += name not in voc.xml
            names[name] = None
    if not names and not voc.problems:
        raise UserError(f"{path} names no image")
    if empty:
        why = f"{empty} of its pictures have no XML (taken for pictures without objects)"
        voc.complain(path, why, fatal=False)
    return voc.dataset(split, list(names))


class VocReader:
    """The state of reading one folder.

    Pixels count from 1 and corners include their pixel, so ``(xmin - 1, ymin - 1, xmax, ymax)`` are
    our continuous coordinates. Objects marked ``difficult`` become regions to ignore. VOC has no
    numbers: classes count from 1 in alphabetical order over all splits, images from 1 in
    alphabetical order over the whole folder.

    Args:
        folder: the data folder.
        annotations: holds the XML files, at any depth.
        pictures: holds the pictures, in the same folders.
    """

    def __init__(self, folder: Path, annotations: Path, pictures: Path):
        self.folder, self.annotations = folder, annotations
        self.xml, self.pictures = by_name(annotations, (".xml",)), by_name(pictures, SUFFIXES)
        self.finder = PictureFinder(folder, [pictures])
        self.problems: list[Problem] = []
        self.used: set[Path] = set()
        self._by_last = defaultdict(set)
        for name in (*self.xml, *self.pictures):
            self._by_last[composed(name.rpartition("/")[2])].add(name)
        self._owned = {path for name, path in self.pictures.items() if name in self.xml}
        self._composed = {composed(name): path for name, path in self.pictures.items()}

    def listed(self, line: str) -> str | None:
        """The name that a line of a list means."""
        words = (
            line.rpartition(" ")[0].strip() if line.rpartition(" ")[2] in ("1", "0", "-1") else line
        )
        for text in (line, words):
            stem, dot, suffix = text.rpartition(".")
            for name in (text, stem) if f".{suffix.lower()}" in SUFFIXES else (text,):
                if name in self.xml or name in self.pictures:
                    return name
                alike = self._by_last[composed(name.replace("\\", "/").rpartition("/")[2])]
                if len(alike) == 1:
                    return next(iter(alike))
        return None

    def dataset(self, split: str, chosen: list[str]) -> Dataset:
        """The images of these names. Every file is read: the classes are those of all splits."""
        wanted = set(chosen)
        images, objects, boxes = [], [], []
        classes: set[str] = set()
        for number, (name, path) in enumerate(self.xml.items(), start=1):
            try:
                root = parse_xml(path)
            except (OSError, ValueError) as error:
                if name in wanted:
                    self.complain(path, str(error))
                continue
            classes.update(class_name(entry) for entry in root.iter("object"))
            file = self.file(name, root)
            if name in wanted:
                record = self.image(number, name, path, root, file)
                if record is not None:
                    objects += self.objects(len(images), path, root, record, boxes)
                    images.append(record)
        images += self.empty_images(wanted)
        if are_parts_of_pictures(boxes):
            self.complain(
                self.annotations,
                "its boxes lie between 0 and 1: are they parts of the picture? VOC's corners are "
                "in pixels, so multiply xmin and xmax by the picture's width, ymin and ymax by its "
                "height",
            )
        ordered = sorted(classes - {""})
        label = {name: k for k, name in enumerate(ordered, start=1)}
        rows = [
            (number, image, label[name], corners, area, difficult)
            for number, (image, name, corners, area, difficult) in enumerate(objects, start=1)
        ]
        ids = range(1, len(ordered) + 1)
        where = f"{self.annotations} ({split})"
        annotations = np.array(rows, ANNOTATION)
        return Dataset(where, ordered, ids, images, annotations, self.problems, "difficult")

    def empty_images(self, wanted: set[str]) -> Iterator[ImageRecord]:
        """The wanted pictures without XML."""
        without = [name for name in self.pictures if name not in self.xml]
        for number, name in enumerate(without, start=len(self.xml) + 1):
            if name in wanted:
                try:
                    yield ImageRecord(number, self.pictures[name], *read_size(self.pictures[name]))
                except UserError as error:
                    self.complain(self.pictures[name], str(error), fatal=False, outcome=WITHOUT)

    def file(self, name: str, root: Element) -> Path | None:
        """The picture of an XML file: of its name, of the name it states, or of its last part."""
        file = self.pictures.get(name) or self._composed.get(composed(name))
        stated = root.findtext("filename", "").strip()
        if file is None and stated and "\0" not in stated:
            (file,), _ = self.finder.find([stated])
        if file is None:
            alike = self._by_last[composed(name.rpartition("/")[2])] & set(self.pictures)
            file = self.pictures[alike.pop()] if len(alike) == 1 else None
        if file in self._owned and file != self.pictures.get(name):
            file = None
        if file is not None:
            self.used.add(file)
        return file

    def image(
        self, number: int, name: str, path: Path, root: Element, file: Path | None
    ) -> ImageRecord | None:
        """The image of an XML file; its size is looked up where the XML has none, or one into which
        its boxes do not fit."""
        if file is None:
            why = f"there is no image {self.finder.place / name}.*"
            self.complain(path, why, fatal=False, outcome=WITHOUT)
            return None
        width, height = (to_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
        is_stated = None not in (width, height) and min(width, height) >= 1
        if not is_stated or sticks_out(root, width, height):
            try:
                size = read_size(file)
                if not is_stated or size != (height, width):  # or is it turned as EXIF says
                    width, height = size
            except UserError as error:
                self.complain(path, str(error), fatal=False, outcome=WITHOUT)
                return None
        return ImageRecord(number, file, int(width), int(height))

    def objects(
        self, image: int, path: Path, root: Element, record: ImageRecord, boxes: list
    ) -> Iterator[tuple[int, str, tuple, float, bool]]:
        """The sound objects: place of the image, class, corners, area, whether to ignore it.

        ``boxes`` collects what stands in the file.
        """
        for number, entry in enumerate(root.findall("object"), start=1):
            where = f"object {number}"
            name = class_name(entry)
            if not name:
                self.complain(path, "the name of its class is missing", where)
                continue
            box = tuple(entry.findtext(f"bndbox/{corner}") for corner in CORNERS)
            numbers = [to_number(text) for text in box]
            if None in numbers:
                why = f"bndbox must have four finite numbers: {', '.join(CORNERS)}"
                self.complain(path, why, f"{where} ({name})", box)
                continue
            boxes.append(numbers)
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
                difficult = to_number(entry.findtext("difficult")) == 1
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


def sticks_out(root: Element, width: float, height: float) -> bool:
    """Whether a box of an XML file ends outside a picture of this size."""
    ends = (("xmax", width), ("ymax", height))
    boxes = list(root.iter("bndbox"))
    return any((to_number(box.findtext(end)) or 0) > side for end, side in ends for box in boxes)


def class_name(entry: Element) -> str:
    """Of an object; composed, so that a name is the same whether a Mac wrote it or not."""
    return composed(entry.findtext("name", "").strip())
