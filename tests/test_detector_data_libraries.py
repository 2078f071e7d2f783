"""Data sets that other programs' own libraries wrote: globox, Roboflow's supervision, datumaro.

Each holds the pictures and boxes of one set in COCO's format, which must come out to the unit, be
learned from and be measured with: ``pip install globox supervision datumaro``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from field_cases import QUICK, run
from PIL import Image
from small_data_set import picture

from detector.datasets import open_dataset, splits

CLASSES = ["cat", "dog", "zebra"]
COUNT = 12
SIZE = (64, 48)
LIMIT = 1e-3  # pixels, for libraries that write four digits of a part of the picture


def library(name: str):
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """``instances.json`` and the pictures in ``images``; boxes of whole pixels, as VOC has them."""
    folder, rng = tmp_path_factory.mktemp("source"), np.random.default_rng(0)
    (folder / "images").mkdir()
    pictures, boxes = [], []
    for number in range(1, COUNT + 1):
        Image.fromarray(picture(*SIZE, seed=number)).save(folder / "images" / f"p{number:02d}.jpg")
        pictures.append({"id": number, "file_name": f"p{number:02d}.jpg"})
        pictures[-1] |= {"width": SIZE[0], "height": SIZE[1]}
        for _ in range(1 + number % 3):
            x, y = (int(side) for side in rng.integers(1, 20, 2))
            width, height = (int(side) for side in rng.integers(8, 25, 2))
            boxes.append({"id": len(boxes) + 1, "image_id": number, "iscrowd": 0})
            boxes[-1] |= {"category_id": 1 + len(boxes) % 3, "bbox": [x, y, width, height]}
            boxes[-1] |= {"area": width * height, "segmentation": []}
    categories = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(CLASSES, 1)]
    document = {"images": pictures, "annotations": boxes, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(document))
    return folder


def by_globox(source: Path, folder: Path, pictures: str):
    """The annotations, the pictures already in place, and the numbers of the classes."""
    shutil.copytree(source / "images", folder / pictures, dirs_exist_ok=True)
    found = library("globox").AnnotationSet.from_coco(source / "instances.json")
    return found, {name: k for k, name in enumerate(CLASSES)}


def globox_yolo(source, folder):
    found, numbers = by_globox(source, folder, "images")
    found.save_yolo_v5(folder / "labels", label_to_id=numbers)
    (folder / "classes.txt").write_text("\n".join(CLASSES))


def globox_darknet(source, folder):
    found, numbers = by_globox(source, folder, "")
    found.save_yolo_darknet(folder, label_to_id=numbers)
    (folder / "obj.names").write_text("\n".join(CLASSES))


def globox_coco(source, folder):
    found, numbers = by_globox(source, folder, "photos")
    found.save_coco(folder / "boxes.json", label_to_id=numbers, auto_ids=True)


def globox_labelme(source, folder):
    by_globox(source, folder, "")[0].save_labelme(folder)


def globox_openimage(source, folder):
    by_globox(source, folder, "images")[0].save_openimage(folder / "boxes.csv")


def by_supervision(source: Path):
    return library("supervision").DetectionDataset.from_coco(
        str(source / "images"), str(source / "instances.json")
    )


def supervision_yolo(source, folder):
    by_supervision(source).as_yolo(
        str(folder / "train" / "images"),
        str(folder / "train" / "labels"),
        str(folder / "data.yaml"),
    )


def supervision_voc(source, folder):
    by_supervision(source).as_pascal_voc(str(folder / "images"), str(folder / "annotations"))


def supervision_coco(source, folder):
    by_supervision(source).as_coco(str(folder / "images"), str(folder / "annotations.json"))


def supervision_labelme(source, folder):
    by_supervision(source).as_labelme(str(folder / "images"), str(folder / "labels"))


def by_datumaro(source: Path, folder: Path, format: str):
    """From COCO's own layout, which it wants."""
    datumaro = library("datumaro")
    coco = folder.parent / f"{folder.name}-source"
    (coco / "annotations").mkdir(parents=True)
    shutil.copy(source / "instances.json", coco / "annotations" / "instances_train.json")
    shutil.copytree(source / "images", coco / "images" / "train")
    dataset = datumaro.Dataset.import_from(str(coco), "coco_instances")
    dataset.export(str(folder), format, save_media=True)


def datumaro_coco(source, folder):
    by_datumaro(source, folder, "coco_instances")


def datumaro_voc(source, folder):
    by_datumaro(source, folder, "voc")


def datumaro_yolo(source, folder):
    by_datumaro(source, folder, "yolo")


EXPORTS = [
    globox_yolo, globox_darknet, globox_coco, globox_labelme, globox_openimage, supervision_yolo,
    supervision_voc, supervision_coco, supervision_labelme, datumaro_coco, datumaro_voc,
    datumaro_yolo,
]  # fmt: skip


@pytest.fixture(scope="module", params=EXPORTS, ids=lambda write: write.__name__)
def export(request, source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "my-export"
    folder.mkdir()
    request.param(source, folder)
    return folder


def found_in(folder: Path) -> dict[str, list]:
    """(class, box) of each picture by its name; nothing may be left out."""
    found: dict[str, list] = {}
    for split in splits(folder):
        dataset = open_dataset(folder, split, strict=True)
        for index, record in enumerate(dataset.images):
            target = dataset.target(index)
            names = [dataset.classes[label - 1] for label in target["labels"]]
            boxes = target["boxes"].tolist()
            assert record.path.stem not in found
            found[record.path.stem] = sorted(zip(names, boxes, strict=True))
            assert dataset.load(index)[0].shape == (SIZE[1], SIZE[0], 3)
    return found


def test_its_boxes_are_those_of_coco(export, source):
    expected, found = found_in(source / "instances.json"), found_in(export)
    assert set(found) == set(expected) and len(found) == COUNT
    for name, objects in expected.items():
        assert [label for label, _ in found[name]] == [label for label, _ in objects]
        boxes = [[box for _, box in part] for part in (found[name], objects)]
        # datumaro writes VOC's corners as they are, without counting from 1.
        limit = 1 if (export / "ImageSets" / "Main" / "train.txt").exists() else LIMIT
        np.testing.assert_allclose(*boxes, atol=limit, rtol=0)


def test_it_is_learned_from_and_measured_with(capsys, export, tmp_path):
    code, text, errors = run(capsys, "train", "--data", export, "--out", tmp_path / "run", *QUICK)
    assert code == 0, errors
    assert "3 classes" in text
    split = splits(export)[0]  # where a format has no list of it, a fifth is set aside
    options = ["--data", export, "--weights", tmp_path / "run", "--split", split]
    code, text, errors = run(capsys, "evaluate", *options)
    assert code == 0 and f"{len(open_dataset(export, split))} images" in text, errors
