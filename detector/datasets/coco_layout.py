"""Where the files and pictures of a data set in COCO's format are, as each tool puts them."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import partial
from pathlib import Path

from detector.datasets.coco import read_coco
from detector.datasets.dataset import Dataset
from detector.datasets.files import files_in, folders_in, is_file
from detector.datasets.finding import PictureFinder, data_folder
from detector.datasets.splitting import split_of_file

PREFIX = "instances_"
ROBOFLOW = "_annotations.coco.json"
KEYS = (b'"images"', b'"annotations"')
GLANCE = 2**16  # bytes at the beginning and at the end of a file


def coco_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split of a folder in COCO's own layout; {} if it is in another.

    ``annotations/instances_SPLIT.json`` with images in ``SPLIT/``, ``images/SPLIT/``, ``images/``,
    ``JPEGImages/`` or the folder itself.
    """
    files = {
        path.stem.removeprefix(PREFIX): path
        for path in files_in(folder / "annotations", (".json",))
        if path.name.startswith(PREFIX)
    }
    return readers_of(folder, files)


def roboflow_splits(folder: Path) -> dict[str, Callable[[], Dataset]]:
    """The same for what Roboflow's downloads hold: a folder for each split, with its images and
    ``_annotations.coco.json``. ``folder`` may also be one of them."""
    holders = [place for place in (folder, *folders_in(folder)) if (place / ROBOFLOW).is_file()]
    paths = [place / ROBOFLOW for place in holders]
    return {
        place.resolve().name: partial(
            read_coco, place / ROBOFLOW, PictureFinder(place, [place]), paths
        )
        for place in holders
    }


def json_splits(place: Path) -> dict[str, Callable[[], Dataset]]:
    """The same for files of any name: in the folder, in ``annotations``, or beside the pictures in
    the folders of the splits (Label Studio's ``result.json``, CVAT's, one file for all). ``place``
    may also be such a file."""
    if is_file(place):
        paths, folder = [place], data_folder(place)
    else:
        folder = place
        below = [holder for inner in folders_in(folder) for holder in (inner, *folders_in(inner))]
        paths = [path for holder in (folder, *below) for path in files_in(holder, (".json",))]
    paths = [path for path in paths if looks_like_coco(path)]
    files = {split_of_file(p, folder) or p.stem.removeprefix(PREFIX): p for p in paths}
    if len(files) < len(paths):
        files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}
    return readers_of(folder, files)


def readers_of(folder: Path, files: dict[str, Path]) -> dict[str, Callable[[], Dataset]]:
    """The readers of files of splits, whose pictures lie in a folder of their own or in one for
    all."""
    own = {
        name: [folder / name, folder / "images" / name, *beside(path, folder)]
        for name, path in files.items()
    }
    shared = [folder / "images", folder / "JPEGImages", folder]
    readers = {}
    for name, path in files.items():
        elsewhere = [place for other in own if other != name for place in own[other]]
        finder = PictureFinder(folder, own[name] + shared, elsewhere)
        readers[name] = partial(read_coco, path, finder, list(files.values()))
    return readers


def beside(path: Path, folder: Path) -> list[Path]:
    """The folders of a file inside the folder of its split, and ``images`` in them."""
    holders = [holder for holder in path.parents if folder in holder.parents]
    of_pictures = [holder for holder in holders if holder.name != "annotations"]
    return [place for holder in of_pictures for place in (holder, holder / "images")]


def looks_like_coco(path: Path) -> bool:
    """Whether a list of COCO's is named near the beginning or the end of a file.

    A damaged one counts too: its reader says what is wrong with it.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(GLANCE)
            file.seek(max(0, path.stat().st_size - GLANCE))
            text += file.read(GLANCE)
    except OSError:
        return False
    is_object = text.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    return is_object and any(key in text for key in KEYS) and b'"shapes"' not in text[:GLANCE]
