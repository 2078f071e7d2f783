"""What every reader of annotations produces: images, and the boxes in them.

``Dataset`` is what the loader, the evaluation and ``check-data`` work on, whatever format the files
have. It holds the annotations in memory (70 bytes a box) and decodes a picture when asked.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.datasets.files import composed, is_file, spelled
from detector.datasets.images import is_turned, read_image
from detector.datasets.problems import Problem
from detector.datasets.segmentation import unpacked
from detector.errors import UserError
from detector.masks import decode, encode
from detector.parts.preprocess import scale_boxes
from nn.table import did_you_mean

# One row an annotation. ``image`` is a position in Dataset.images, ``label`` 1..num_classes,
# ``box`` (x1, y1, x2, y2) in pixels inside the image, ``area`` the object's own where it is known.
ANNOTATION = np.dtype(
    [
        ("id", np.int64),
        ("image", np.int64),
        ("label", np.int64),
        ("box", np.float64, 4),
        ("area", np.float64),
        ("crowd", np.bool_),
    ]
)


@dataclass(frozen=True)
class ImageRecord:
    """One image: the annotations' ``id``, where it is and its upright size in pixels.

    ``missing`` is what to tell about a file that is not there; ``reduction`` by how much the sides
    of a huge photograph are divided when it is decoded; ``turned`` EXIF's orientation, where the
    annotations are those of the stored pixels: boxes are turned already, outlines not.
    """

    id: int
    path: Path
    width: int
    height: int
    missing: str = ""
    reduction: int = 1
    turned: int = 1

    @property
    def decoded(self) -> tuple[int, int]:
        """(height, width) of its pixels."""
        return -(-self.height // self.reduction), -(-self.width // self.reduction)


class Dataset:
    """Annotated images.

    Args:
        name: of the annotations' file, for messages.
        classes: names; label k means ``classes[k - 1]``, label 0 is the background.
        category_ids: the annotations' own numbers of the classes, in the same order.
        images: in the order of the file.
        annotations: (M,) of dtype ``ANNOTATION``, in any order.
        problems: what the reader found wrong, fatal or not.
        ignore_mark: what marks objects that are neither learned nor missed, in this format.
    """

    has_files = True  # False where the pictures are made, not read
    outlines: Mapping[int, dict] | None = None  # masks by the annotations' ids, see ``with_masks``

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        category_ids: Sequence[int],
        images: Sequence[ImageRecord],
        annotations: np.ndarray,
        problems: Sequence[Problem] = (),
        ignore_mark: str = "iscrowd",
    ):
        self.name, self.ignore_mark = name, ignore_mark
        self.classes, self.category_ids = list(classes), list(category_ids)
        self.images, self.problems = list(images), list(problems)
        self.annotations = annotations[np.argsort(annotations["image"], kind="stable")]
        # Annotations of image i are rows first[i] up to first[i + 1].
        self._first = np.searchsorted(self.annotations["image"], np.arange(len(self.images) + 1))

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[np.ndarray, dict]:
        """Image ``index``, (H, W, 3) uint8 RGB, and its target (see ``target``).

        Raises:
            UserError: the file cannot be decoded, or has another size than the annotations say.
        """
        record = self.images[index]
        image = self.read(index)
        if image.shape[:2] != record.decoded:
            turned = is_file(record.path) and is_turned(record.path)
            raise UserError(
                f"{record.path} is {image.shape[1]} x {image.shape[0]} pixels when upright"
                f"{' (its EXIF orientation turns it)' * turned}, but "
                f"{self.name} says {record.width} x {record.height}: its boxes would be in wrong "
                "places, mend the annotations or replace the picture"
            )
        return image, self.target(index)

    def read(self, index: int) -> np.ndarray:
        """The pixels of image ``index``."""
        return read_image(self.images[index].path)

    def target(self, index: int) -> dict:
        """What is in image ``index``, without decoding it; in pixels as they are decoded.

        Returns:
            ``boxes`` (R, 4) float32 ``(x1, y1, x2, y2)`` in pixels, ``labels`` (R,) int64 in
            1..num_classes, ``ignore`` (I, 4) float32 regions of crowds, which are neither objects
            nor background, and ``image_id``. R and I may be 0. With ``outlines`` also ``masks``
            (R, H, W) bool.
        """
        rows = self.annotations[self._first[index] : self._first[index + 1]]
        record = self.images[index]
        boxes = scale_boxes(rows["box"], (record.height, record.width), record.decoded)
        boxes, crowd = boxes.astype(np.float32), rows["crowd"]
        target = {
            "boxes": boxes[~crowd],
            "labels": rows["label"][~crowd],
            "ignore": boxes[crowd],
            "image_id": record.id,
        }
        if self.outlines is not None:
            step = record.reduction
            masks = np.zeros((len(target["boxes"]), *record.decoded), bool)
            for mask, row in zip(masks, rows[~crowd], strict=True):
                mask[:] = self.mask(row)[::step, ::step]
            target["masks"] = masks
        return target

    def with_masks(self, outlines: Mapping[int, dict] | None) -> Dataset:
        """A copy whose targets have masks; run-length encoded, by the ids of the annotations.

        None for a copy whose targets have none.
        """
        copied = copy.copy(self)
        copied.outlines = outlines
        return copied

    def mask(self, row: np.ndarray) -> np.ndarray:
        """The pixels (H, W) bool of the object of one row of the annotations."""
        outline = self.outlines[int(row["id"])]
        return decode(unpacked(outline["counts"]), outline["size"])

    def digest(self) -> str:
        """A SHA-256 of what is learned: names and sizes of the pictures, and the boxes in them.

        The same wherever the data set lies.
        """
        lines = [f"{composed(r.path.name)} {r.width} {r.height}\n" for r in self.images]
        found = hashlib.sha256("".join(lines).encode(errors="surrogatepass"))
        for field in ("image", "label", "box", "crowd"):
            found.update(np.ascontiguousarray(self.annotations[field]))
        return found.hexdigest()

    def select(
        self,
        classes: Sequence[str] | None = None,
        limit: int | None = None,
        with_others: bool = False,
    ) -> Dataset:
        """A part of the data set.

        Args:
            classes: names of the classes to keep, in the order in which labels count them. Images
                that show others only are left out; images that show nothing at all stay.
            limit: keep the first so many of the images, in the order of the file.
            with_others: keep images that show others only too. What is found in them is wrong, so
                whoever measures needs them (COCO counts the false positives of all images).

        Raises:
            UserError: a class is unknown (suggests the nearest) or named twice, or limit < 1.
        """
        if limit is not None and limit < 1:
            raise UserError(f"the limit must be at least 1 image, not {limit}")
        classes = (
            self.classes if classes is None else known_classes(classes, self.classes, self.name)
        )
        chosen = np.array([self.classes.index(name) for name in classes], np.int64)
        new_label = np.zeros(len(self.classes) + 1, np.int64)
        new_label[chosen + 1] = np.arange(1, len(chosen) + 1)

        annotations = self.annotations.copy()
        annotations["label"] = new_label[annotations["label"]]
        annotations = annotations[annotations["label"] > 0]
        shows_any = np.diff(self._first) > 0
        shows_wanted = np.bincount(annotations["image"], minlength=len(self)) > 0
        images = np.flatnonzero(shows_wanted | ~shows_any | with_others)[:limit]
        whole = copy.copy(self)
        whole.classes, whole.annotations = classes, annotations
        whole.category_ids = [self.category_ids[k] for k in chosen]
        return whole.part(images)

    def part(self, images: np.ndarray) -> Dataset:
        """The data set of some of the images, given by their places, with all classes."""
        new_image = np.full(len(self), -1)
        new_image[images] = np.arange(len(images))
        annotations = self.annotations.copy()
        annotations["image"] = new_image[annotations["image"]]
        part = copy.copy(self)  # of the same class: it may read its pixels in its own way
        records = [self.images[i] for i in images]
        ids = {None, *(record.id for record in records)}
        Dataset.__init__(
            part,
            self.name,
            self.classes,
            self.category_ids,
            records,
            annotations[annotations["image"] >= 0],
            [problem for problem in self.problems if problem.image in ids],
            self.ignore_mark,
        )
        return part

    def with_class(self, name: str, category_id: int) -> Dataset:
        """The same data with one more class, of which it has no box.

        Its number is ``category_id`` unless another class has that.
        """
        whole = copy.copy(self)
        if category_id in self.category_ids:
            category_id = max(self.category_ids) + 1
        whole.classes = [*self.classes, name]
        whole.category_ids = [*self.category_ids, category_id]
        return whole

    def coco_ground_truth(self) -> dict:
        """The annotations as the dict of COCO's JSON, with the data set's own ids."""
        annotations = []
        for row in self.annotations:
            x1, y1, x2, y2 = row["box"].tolist()
            annotations.append(
                {
                    "id": int(row["id"]),
                    "image_id": self.images[row["image"]].id,
                    "category_id": self.category_ids[row["label"] - 1],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(row["area"]),
                    "iscrowd": int(row["crowd"]),
                }
            )
            outlined = self.outlines is not None
            if outlined and (not row["crowd"] or int(row["id"]) in self.outlines):
                annotations[-1]["segmentation"] = encode(self.mask(row))
        pairs = zip(self.category_ids, self.classes, strict=True)
        return {
            "images": [
                {"id": r.id, "file_name": r.path.name, "width": r.width, "height": r.height}
                for r in self.images
            ],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in pairs],
        }


def known_classes(wanted: Sequence[str], classes: Sequence[str], owner: str) -> list[str]:
    """The classes by their own names, which may differ in blanks around and in composition.

    Raises:
        UserError: ``owner`` does not have one of them (suggests the nearest), or it is named twice.
    """
    own = {spelled(name): name for name in classes}
    wanted = [name if name in classes else own.get(spelled(name), name) for name in wanted]
    for name in wanted:
        if name not in classes:
            known = ", ".join(map(spelled, classes[:80])) + (", ..." if len(classes) > 80 else "")
            hint = did_you_mean(name, map(spelled, classes))
            raise UserError(f"{owner} has no class {name!r}{hint}: it has {known}")
        if wanted.count(name) > 1:
            raise UserError(f"the class {name!r} is named twice")
    return wanted
