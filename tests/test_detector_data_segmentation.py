"""Boxes around outlines, beside pycocotools' own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as theirs
from small_data_set import coco_document, write_coco

from detector.datasets import open_dataset
from detector.datasets.segmentation import box_around, unpacked


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32), st.floats(0, 1))
def test_masks_of_both_kinds(height, width, seed, share):
    pixels = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    packed = theirs.encode(np.asfortranarray(pixels))
    box = box_around({"size": [height, width], "counts": packed["counts"].decode()})
    assert box == pytest.approx(theirs.toBbox(packed).tolist())
    flat, runs, value = pixels.T.reshape(-1), [], 0
    while len(flat):
        count = int((flat != value).argmax()) if (flat != value).any() else len(flat)
        runs.append(count)
        flat, value = flat[count:], 1 - value
    assert unpacked(packed["counts"].decode()) == runs
    assert box_around({"size": [height, width], "counts": runs}) == box


def test_polygons():
    assert box_around([[1, 2, 30, 2, 15, 20]]) == [1, 2, 29, 18]
    assert box_around([1, 2, 30, 2, 15, 20]) == [1, 2, 29, 18]
    assert box_around([[1, 2, 3, 2, 2, 4], [10, 2.5, 12, 2, 11, 40]]) == [1, 2, 11, 38]


EVIL = [None, 3, "x", [], [[]], [[1, 2]], [[1, 2, 3, 4, 5]], [["a"] * 6], [[float("nan")] * 6], {},
        {"size": [2, 2]}, {"size": [2, 2], "counts": [5]}, {"size": [2, 2], "counts": [-1, 5]},
        {"size": [0, 2], "counts": []}, {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": [2, 2], "counts": "\u00ff"}, {"size": [2, 2], "counts": "o" * 99},
        {"size": "ab", "counts": "1"}, {"size": [2, 2], "counts": [None]}]  # fmt: skip


@pytest.mark.parametrize("value", EVIL, ids=range(len(EVIL)))
def test_what_is_no_outline(value):
    assert box_around(value) is None


def test_annotations_with_outlines_only(tmp_path):
    document = coco_document()
    whole = open_dataset(write_coco(tmp_path / "whole", document), "train")
    for entry in document["annotations"]:
        x, y, w, h = entry.pop("bbox")
        entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    found = open_dataset(
        write_coco(tmp_path / "outlines", json.loads(json.dumps(document))), "train"
    )
    assert len(found.annotations) == len(whole.annotations) > 0
    np.testing.assert_allclose(found.annotations["box"], whole.annotations["box"])
