"""Where the pictures, text files and class names of a data set in YOLO's format are.

There is no one layout: Ultralytics has ``images/train`` and ``labels/train``, Roboflow
``train/images`` and ``train/labels``, each with a ``data.yaml``; Label Studio ``images``,
``labels`` and ``classes.txt``; CVAT and Darknet ``obj.data``, ``obj.names`` and lists of pictures;
LabelImg puts the text files beside the pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from detector.datasets.files import files_below, files_in, is_file
from detector.datasets.images import SUFFIXES
from detector.datasets.numbers import to_number, to_whole
from detector.datasets.splitting import SPLITS, by_split, split_of
from detector.datasets.yolo_config import (
    Places,
    class_names,
    find_config,
    is_shape,
    read_names,
    read_yaml,
)
from detector.errors import UserError

CLASS_FILES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")


@dataclass
class YoloLayout:
    """
    Attributes:
        folder: the data folder.
        splits: the pictures of each.
        names: of the classes, from 0.
        named_in: the file that names them.
        values_after_box: how many numbers of keypoints follow a box.
        remarks: (file, what is odd about it and was dealt with).
    """

    folder: Path
    splits: dict[str, list[Path]]
    names: list[str]
    named_in: str
    values_after_box: int = 0
    remarks: list[tuple[Path, str]] = field(default_factory=list)

    @cached_property
    def label_files(self) -> dict[Path, Path | None]:
        """The text file of each picture of all splits, None for one that has none."""
        return {
            picture: next(filter(is_file, label_places(self.folder, picture)), None)
            for pictures in self.splits.values()
            for picture in pictures
        }

    def without_picture(self, split: str) -> Iterator[Path]:
        """The text files in the folders of the split's text files that belong to no picture."""
        owned = set(self.label_files.values())
        own = (self.label_files[picture] for picture in self.splits[split])
        for folder in sorted({path.parent for path in own if path is not None}):
            for path in files_in(folder, (".txt",)):
                if path not in owned and holds_boxes(path):
                    yield path


def find_layout(place: Path) -> YoloLayout | None:
    """The layout of a data folder, or of the ``data.yaml`` or ``obj.data`` of one.

    None if it holds no text files of boxes.

    Raises:
        UserError: its ``data.yaml`` or ``obj.data`` cannot be understood.
    """
    config = find_config(place)
    if config is not None:
        return configured(config[0].parent, *config, anywhere=is_file(place))
    folder = place
    pictures = files_below(folder, SUFFIXES)
    if not any(has_boxes(folder, picture) for picture in pictures):
        return None
    splits = defaultdict(list)
    for picture in pictures:
        splits[split_of(picture.relative_to(folder).parts[:-1]) or ""].append(picture)
    if len(splits) > 1:
        splits.pop("", None)  # a sample picture beside the folders of the splits
    ordered = {name or "all": splits[name] for name in sorted(splits, key=by_split)}
    names, named_in, remarks = named(folder, ordered)
    return YoloLayout(folder, ordered, names, named_in, remarks=remarks)


def label_places(folder: Path, picture: Path) -> Iterator[Path]:
    """Where the text file of a picture may be: in the folder ``labels`` that stands for its last
    ``images``, beside it, or in a folder ``labels`` of the whole set."""
    parts = picture.relative_to(folder).parts if folder in picture.parents else picture.parts
    inside = Path(*parts).with_suffix(".txt")
    root = folder if folder in picture.parents else Path()
    for k in range(len(inside.parts) - 2, -1, -1):
        if inside.parts[k].lower() in ("images", "jpegimages"):
            for name in ("labels", "Labels"):
                yield root.joinpath(*inside.parts[:k], name, *inside.parts[k + 1 :])
    yield picture.with_suffix(".txt")
    yield picture.parent / "labels" / inside.name
    yield folder / "labels" / inside
    yield folder / "labels" / inside.name


def has_boxes(folder: Path, picture: Path) -> bool:
    return any(is_file(path) and holds_boxes(path) for path in label_places(folder, picture))


def holds_boxes(path: Path) -> bool:
    """Whether the first line of a text file could be YOLO's."""
    try:
        with open(path, "rb") as file:
            words = file.read(4096).decode("utf-8-sig", "replace").strip().split("\n")[0].split()
    except OSError:
        return False
    return len(words) >= 5 and to_whole(words[0]) is not None and to_number(words[1]) is not None


# The names of the classes, where no configuration has them


def named(folder: Path, splits: dict[str, list[Path]]) -> tuple[list[str], str, list]:
    """The names of the classes, the file they stand in, and remarks."""
    for path in files_in(folder, (".yaml", ".yml")):  # one that names no pictures
        values = read_yaml(path)
        if "names" in values:
            return class_names(path, values), path.name, []
    places = [
        folder,
        folder / "labels",
        *{picture.parent for picture in splits[next(iter(splits))]},
    ]
    places += [place.parent / "labels" for place in places]
    for place in places:
        for path in files_in(place, (".txt", ".names", ".labels")):
            if path.name in CLASS_FILES or path.suffix == ".names":
                names = read_names(path)
                if names:
                    return names, path.name, []
    count = 1 + max(
        (to_whole(line.split()[0]) or 0)
        for pictures in splits.values()
        for picture in pictures
        for path in label_places(folder, picture)
        if is_file(path) and holds_boxes(path)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.split()
    )
    why = "nothing names the classes (data.yaml or classes.txt): they are called by their numbers"
    return [str(number) for number in range(min(count, 10_000))], "nothing", [(folder, why)]


def configured(folder: Path, path: Path, values: dict, anywhere: bool) -> YoloLayout:
    """The layout that a configuration describes.

    Args:
        anywhere: whether pictures may lie outside the folder and those beside it, which is so for
            a configuration that was named itself.
    """
    remarks: list[tuple[Path, str]] = []
    splits = {}
    for key in ("train", "val", "valid", "test"):
        name = SPLITS[key]
        if not values.get(key) or name in splits:
            continue
        pictures = Places(folder, path, values.get("path"), remarks, anywhere).pictures(
            key, values[key]
        )
        if pictures:
            splits[name] = pictures
    if not splits:
        raise UserError(f"{path} names no folder with pictures: mend its paths")
    names, named_in = class_names(path, values), path.name
    points = values.get("kpt_shape")
    count = points[0] * points[1] if is_shape(points) else 0
    return YoloLayout(folder, splits, names, named_in, count, remarks)
