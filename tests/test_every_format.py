"""Every layout of the table meets every check: COCO's boxes, one line for faults.

A new row without a writer here fails.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint
from PIL import Image
from small_data_set import picture, voc_object, voc_xml

from detector.datasets import open_dataset, splits
from detector.datasets.formats import FORMATS
from detector.datasets.problems import DatasetError, left_out

CLASSES = ["cat", "dog", "zebra"]

# For each split its pictures, each with objects: class, first and last pixel in x and y, counted
# from 0, and whether to ignore it. VOC has whole pixels only.
CONTENT = {
    "train": {
        "a": [("zebra", (0, 0, 63, 47), False)],
        "b": [
            ("cat", (4, 5, 13, 24), False),
            ("dog", (30, 10, 30, 18), False),
            ("cat", (20, 0, 59, 47), True),
        ],
        "c": [],
    },
    "val": {"d": [("dog", (7, 9, 41, 20), False)]},
}


def save_picture(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed=ord(name))).save(folder / f"{name}.png")


def coco(content: dict) -> str:
    """The three lists of one split."""
    images = [
        {"id": number, "file_name": f"{name}.png", "width": 64, "height": 48}
        for number, name in enumerate(content, start=5)
    ]
    annotations = [
        {
            "image_id": number,
            "category_id": 10 * CLASSES.index(label),
            "bbox": [x1, y1, x2 - x1 + 1, y2 - y1 + 1],
            "iscrowd": int(ignored),
        }
        for number, objects in enumerate(content.values(), start=5)
        for label, (x1, y1, x2, y2), ignored in objects
    ]
    annotations = [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)]
    categories = [{"id": 10 * number, "name": name} for number, name in enumerate(CLASSES)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def xml(objects: list) -> str:
    """Of one picture; VOC counts pixels from 1."""
    return voc_xml(
        "".join(
            voc_object(label, tuple(side + 1 for side in box), int(ignored))
            for label, box, ignored in objects
        )
    )


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_coco(folder: Path, split: str, content: dict) -> None:
    write_text(folder / "annotations" / f"instances_{split}.json", coco(content))
    for name in content:
        save_picture(folder / split, name)


def write_roboflow(folder: Path, split: str, content: dict) -> None:
    write_text(folder / split / "_annotations.coco.json", coco(content))
    for name in content:
        save_picture(folder / split, name)


def write_voc(folder: Path, split: str, content: dict) -> None:
    write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "\n".join(content))
    for name, objects in content.items():
        write_text(folder / "Annotations" / f"{name}.xml", xml(objects))
        save_picture(folder / "JPEGImages", name)


def write_beside(folder: Path, split: str, content: dict) -> None:
    for name, objects in content.items():
        write_text(folder / split / f"{name}.xml", xml(objects))
        save_picture(folder / split, name)


def write_one_json(folder: Path, split: str, content: dict) -> None:
    write_text(folder / f"{split}.json", coco(content))
    for name in content:
        save_picture(folder / "images", name)


def write_yolo(folder: Path, split: str, content: dict) -> None:
    listed = "".join(f"  {k}: {name}\n" for k, name in enumerate(CLASSES))
    where = "train: images/train\nval: images/val\n"
    write_text(folder / "data.yaml", f"path: .\n{where}names:\n{listed}")
    for name, objects in content.items():
        lines = [
            f"{CLASSES.index(label)} {(x1 + x2 + 1) / 128} {(y1 + y2 + 1) / 96} "
            f"{(x2 - x1 + 1) / 64} {(y2 - y1 + 1) / 48}"
            for label, (x1, y1, x2, y2), _ in objects
        ]
        write_text(folder / "labels" / split / f"{name}.txt", "\n".join(lines))
        save_picture(folder / "images" / split, name)


def write_labelme(folder: Path, split: str, content: dict) -> None:
    for name, objects in content.items():
        shapes = [
            {
                "label": label,
                "points": [[x2 + 1.0, y2 + 1.0], [x1, y1]],
                "shape_type": "rectangle",
            }
            for label, (x1, y1, x2, y2), _ in objects
        ]
        document = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{name}.png"}
        write_text(folder / split / f"{name}.json", json.dumps(document))
        save_picture(folder / split, name)


def write_csv(folder: Path, split: str, content: dict) -> None:
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for name, objects in content.items():
        for label, (x1, y1, x2, y2), _ in objects:
            rows.append(f"{name}.png,64,48,{label},{x1},{y1},{x2 + 1},{y2 + 1}")
        if not objects:
            rows.append(f"{name}.png,64,48,,,,,")
        save_picture(folder / "images", name)
    write_text(folder / f"{split}_labels.csv", "\n".join(rows))


def write_cvat(folder: Path, split: str, content: dict) -> None:
    images = []
    for number, (name, objects) in enumerate(content.items()):
        boxes = "".join(
            f'<box label="{label}" occluded="0" xtl="{x1}.00" ytl="{y1}" xbr="{x2 + 1}" '
            f'ybr="{y2 + 1}" z_order="0"><attribute name="old">true</attribute></box>'
            for label, (x1, y1, x2, y2), _ in objects
        )
        images.append(f'<image id="{number}" name="{name}.png" width="64">{boxes}</image>')
        save_picture(folder / "images", name)
    text = f"<?xml version='1.0'?><annotations><version>1.1</version>{''.join(images)}"
    write_text(folder / f"{split}.xml", f"{text}</annotations>")


WRITERS = {
    "CVAT": write_cvat,
    "COCO in one file": write_one_json,
    "YOLO": write_yolo,
    "LabelMe": write_labelme,
    "CSV": write_csv,
    "COCO": write_coco,
    "VOC": write_voc,
    "Roboflow's COCO": write_roboflow,
    "VOC beside the pictures": write_beside,
}


# Nothing in them marks an object that is to be ignored.
WITHOUT_MARK = ("YOLO", "LabelMe", "CSV", "CVAT")
# Bytes from the end that make a line incomplete; XML and JSON are cut near the beginning.
CUT = {"YOLO": -12, "CSV": -40}


def content_for(layout: str) -> dict:
    """What the layout can say of ``CONTENT``."""
    return {
        split: {
            name: [entry for entry in objects if not (entry[2] and layout in WITHOUT_MARK)]
            for name, objects in pictures.items()
        }
        for split, pictures in CONTENT.items()
    }


def write(layout: str, folder: Path, content: dict | None = None) -> Path:
    for split, pictures in (content_for(layout) if content is None else content).items():
        WRITERS[layout](folder, split, pictures)
    return folder


def annotations_of(folder: Path, name: str) -> Path:
    """The file that has the boxes of a picture of "train"."""
    found = [path for path in folder.rglob(f"{name}.*") if path.suffix in (".xml", ".txt", ".json")]
    tables = [path for suffix in ("json", "csv", "xml") for path in folder.rglob(f"*.{suffix}")]
    return (found or [path for path in tables if "train" in str(path)])[0]


@pytest.fixture(params=list(FORMATS))
def layout(request):
    return request.param


def test_every_row_has_a_writer():
    assert set(WRITERS) == set(FORMATS)


def test_only_its_own_reader_takes_a_folder(layout, tmp_path):
    write(layout, tmp_path)
    assert next(name for name in FORMATS if FORMATS[name](tmp_path)) == layout
    assert FORMATS.line(layout)


def test_the_boxes_are_those_of_coco(layout, tmp_path):
    write("COCO", tmp_path / "coco", content_for(layout))
    write(layout, tmp_path / "own")
    assert set(splits(tmp_path / "own")) == set(CONTENT)
    for split, content in content_for(layout).items():
        ours, coco = (open_dataset(tmp_path / part, split) for part in ("own", "coco"))
        assert ours.problems == [] and ours.classes == coco.classes == CLASSES
        assert [record.path.stem for record in ours.images] == list(content)
        for index, objects in enumerate(content.values()):
            (image, target), (expected, wanted) = ours.load(index), coco.load(index)
            np.testing.assert_array_equal(image, expected)
            for key in ("boxes", "labels", "ignore"):
                assert target[key].dtype == wanted[key].dtype
                np.testing.assert_array_equal(target[key], wanted[key])
            boxes = [
                (x1, y1, x2 + 1, y2 + 1) for _, (x1, y1, x2, y2), crowd in objects if not crowd
            ]
            np.testing.assert_array_equal(target["boxes"], np.reshape(boxes, (-1, 4)))


def cut_the_annotations(layout: str, folder: Path) -> str:
    path = annotations_of(write(layout, folder), "b")
    path.write_bytes(path.read_bytes()[: CUT.get(layout, 100)])
    return path.name


def lose_a_picture(layout: str, folder: Path) -> str:
    (path,) = write(layout, folder).rglob("b.png")
    path.unlink()
    return "b."


def turn_a_box_around(layout: str, folder: Path) -> str:
    if layout == "LabelMe":
        pytest.skip("its corners come in any order")
    objects = [("dog", (30, 10, 12, 18), False)]
    write(layout, folder, CONTENT | {"train": CONTENT["train"] | {"b": objects}})
    return annotations_of(folder, "b").name


@pytest.mark.parametrize("fault", [cut_the_annotations, lose_a_picture, turn_a_box_around])
def test_a_fault_is_one_line_that_names_the_file(capsys, layout, tmp_path, fault):
    name = fault(layout, tmp_path / "data")
    line = complaint(
        capsys, "train", "--data", tmp_path / "data", "--preset", "tiny", "--out", tmp_path / "run",
        "--strict",
    )  # fmt: skip
    assert name in line


def test_a_picture_that_is_not_there_is_left_out_and_named(layout, tmp_path):
    name = lose_a_picture(layout, tmp_path)
    dataset = open_dataset(tmp_path, "train")
    assert [record.path.stem for record in dataset.images] == ["a", "c"]
    assert left_out(dataset.problems).startswith("1 left out: ")
    assert name in left_out(dataset.problems)


def test_a_damaged_picture_is_left_out_and_named(layout, tmp_path):
    (path,) = write(layout, tmp_path).rglob("b.png")
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset(tmp_path, "train")
    assert [record.path.stem for record in dataset.images] == ["a", "c"]
    assert f"{path}: is damaged" in left_out(dataset.problems)
    with pytest.raises(DatasetError, match=r"b\.png"):
        open_dataset(tmp_path, "train", strict=True)
