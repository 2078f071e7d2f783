"""Small data sets for the tests of ``detector.datasets``, sound until a test breaks them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def real_data(name: str) -> Path:
    """The folder of a real data set; skips the test, saying so, where it is absent."""
    root = os.environ.get("LIGHTHEAD_DATA") or Path(__file__).parents[2] / "shared" / "data"
    folder = Path(root, name)
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set LIGHTHEAD_DATA to the folder that holds {name}")
    return folder


def real_weights() -> str:
    """The file of ShuffleNet v2 0.5x's published weights; skips the test, saying so, without it."""
    root = os.environ.get("LIGHTHEAD_WEIGHTS") or Path(__file__).parents[2] / "shared" / "weights"
    path = Path(root, "shufflenet_v2_x0_5_imagenet_backbone.pth")
    if not path.is_file():
        pytest.skip(f"no {path}: set LIGHTHEAD_WEIGHTS to the folder that holds it")
    return str(path)


def picture(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: smooth colours, which survive JPEG within a few levels."""
    rng = np.random.default_rng(seed)
    corners = Image.fromarray(rng.integers(30, 226, (2, 2, 3), np.uint8))
    return np.asarray(corners.resize((width, height), Image.Resampling.BILINEAR))


def coco_document() -> dict:
    """Three images of 64 x 48, the last without boxes; sparse ids; one crowd."""
    return {
        "images": [
            {"id": 50, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 7, "file_name": "b.png", "width": 64, "height": 48},
            {"id": 9, "file_name": "c.png", "width": 64, "height": 48},
        ],
        "categories": [
            {"id": 90, "name": "zebra"},
            {"id": 3, "name": "cat"},
            {"id": 17, "name": "dog"},
        ],
        "annotations": [
            annotation(101, 7, 3, [4.5, 5, 10, 20]),
            annotation(102, 50, 90, [0, 0, 64, 48]),
            annotation(104, 7, 17, [30, 10, 8.25, 9], area=40.5),
            annotation(103, 7, 3, [20, 0, 40, 48], iscrowd=1),
        ],
    }


def annotation(number: int, image: int, category: int, box: list, **more) -> dict:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, **more}


def write_coco(folder: Path, document: object | None = None, split: str = "train") -> Path:
    """A data set in COCO's layout; ``document`` may also be the text of the file itself."""
    document = coco_document() if document is None else document
    pictures = folder / split
    pictures.mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for seed, name in enumerate("abc"):
        Image.fromarray(picture(seed=seed)).save(pictures / f"{name}.png")
    path = folder / "annotations" / f"instances_{split}.json"
    if isinstance(document, bytes):
        path.write_bytes(document)
    else:
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def middling(truth: dict, seed: int = 0) -> list[dict]:
    """What a middling detector finds of COCO's annotations, every box of them with its own score.

    Objects are found up to three times, moved, taken for others or missed; some are invented.
    """
    rng, found = np.random.default_rng(seed), []
    ids = [category["id"] for category in truth["categories"]]
    for entry in truth["annotations"]:
        for _ in range(rng.integers(0, 4)):
            x, y, w, h = entry["bbox"]
            dx, dy, dw, dh = rng.normal(0, 0.15, 4)
            box = [x + dx * w, y + dy * h, w * float(np.exp(dw)), h * float(np.exp(dh))]
            if rng.random() < 0.1:
                box[:2] = rng.uniform(0, 300, 2).tolist()
            category = entry["category_id"] if rng.random() < 0.8 else int(rng.choice(ids))
            found.append({
                "image_id": entry["image_id"], "category_id": category, "bbox": box,
                "score": float(rng.random()),
            })  # fmt: skip
    return found


def voc_xml(objects: str = "", size: str | None = None, name: str = "") -> str:
    if size is None:
        size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def voc_object(name: str, box: tuple, difficult: int | None = None) -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    flag = "" if difficult is None else f"<difficult>{difficult}</difficult>"
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    return f"<object><name>{name}</name>{flag}<bndbox>{inner}</bndbox></object>"


def write_voc(folder: Path, files: dict[str, str], **splits: list[str]) -> Path:
    """A data set in VOC's layout: XML text by name, a JPEG for each, and perhaps its splits."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for seed, (name, text) in enumerate(files.items()):
        (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
        Image.fromarray(picture(seed=seed)).save(folder / "JPEGImages" / f"{name}.jpg")
    if splits:
        (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split, names in splits.items():
        text = "".join(f"{name}\n" for name in names)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder
