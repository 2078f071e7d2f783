"""DSSD's two modules: each against its drawing, with the arithmetic here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import nn
from detector.detectors.dssd import DSSD
from detector.necks.deconvolution import (
    DeconvolutionMaps,
    DeconvolutionModule,
    DeconvolutionSettings,
    PredictionModule,
)
from nn.models import Map


def test_weights_of_the_papers_modules():
    """512 channels below, 512 beside: a deconvolution, three 3x3 convolutions, norms for each."""
    with nn.init.skipped():
        up, predict = DeconvolutionModule(512, 512, 512), PredictionModule(1024, 1024)
    count = {module: sum(p.data.size for p in module.parameters()) for module in (up, predict)}
    assert count[up] == 4 * 512**2 + 512 + 3 * (9 * 512**2 + 2 * 512)
    narrow = 1024 * 256 + 256**2 + 256 * 1024 + 2 * (256 + 256 + 1024)
    assert count[predict] == narrow + 1024**2 + 2 * 1024


def test_how_far_from_the_papers_network():
    """The rows of docs/detectors.md, rounded: DSSD321 has 214.7 million and 79.1 billion."""
    page = (Path(__file__).parents[1] / "docs" / "detectors.md").read_text(encoding="utf-8")
    eight = {"ratios": ((1.6, 2.0, 3.0),) * 6}  # two squares, and each ratio with its inverse

    def cost(side, **anchors):
        with nn.init.skipped():
            model = DSSD(80, image={"short_side": side}, head={"anchors": anchors})
        return nn.summary(model, (1, 3, side, side))

    whole = cost(320, **eight)
    found = [(each.parameters, each.multiply_adds) for each in (cost(320), whole)]
    # 16 weights more for each of 1024 channels and 8 boxes of 81 + 4 numbers, on two maps.
    weights = (5 * 5 - 3 * 3) * 1024 * 8 * 85
    (parameters, multiply_adds) = found[-1]
    parameters, multiply_adds = parameters + 2 * weights, multiply_adds + (40**2 + 20**2) * weights
    found.append((parameters, multiply_adds))
    # Four times the cells, but for the first 1x1 convolution, which sees them already.
    stage = [row for row in whole.rows if row.name.startswith("backbone.layer4.")]
    coarse = sum(row.multiply_adds for row in stage if row.name != "backbone.layer4.0.conv1")
    found.append((parameters, multiply_adds + 3 * coarse))
    large = cost(512)
    found.append((large.parameters, large.multiply_adds))
    row = r"^\| (?:here,|and with|with) [^|]*\| ([\d.]+) M \| ([\d.]+) G \|"
    rows = re.findall(row, page, re.MULTILINE)
    assert [(f"{a / 1e6:.1f}", f"{b / 1e9:.1f}") for a, b in found] == rows


def test_a_map_is_the_product_of_both():
    up = DeconvolutionModule(3, 2, 4).eval()
    rng = np.random.Generator(np.random.Philox(0))
    fine = nn.Tensor(rng.normal(size=(1, 3, 5, 6)).astype(np.float32))
    coarse = nn.Tensor(rng.normal(size=(1, 2, 3, 3)).astype(np.float32))
    weight, bias = up.enlarge.weight.data, up.enlarge.bias.data
    enlarged = np.zeros((1, 4, 6, 6), np.float32) + bias[:, None, None]
    for y in range(3):
        for x in range(3):
            cell = np.einsum("i,iokl->okl", coarse.data[0, :, y, x], weight)
            enlarged[0, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2] += cell
    cut = nn.Tensor(enlarged[:, :, :5])
    expected = np.maximum(up.fine(fine).data * up.coarse(cut).data, 0)
    np.testing.assert_allclose(up(fine, coarse).data, expected, rtol=1e-4, atol=1e-5)


def test_what_a_coarse_map_knows_reaches_the_finest():
    settings = DeconvolutionSettings(
        (8, 16, 32), (8,), 0, l2_scale=0, norm="batch", joined_channels=4, predicted_channels=8
    )
    neck = DeconvolutionMaps({f"c{k}": Map(4, 2**k) for k in (3, 4, 5)}, settings)
    assert [tuple(entry) for entry in neck.maps.values()] == [(8, 8), (8, 16), (8, 32), (8, 64)]
    rng = np.random.Generator(np.random.Philox(0))
    features = {
        f"c{k}": nn.Tensor(rng.normal(size=(1, 4, side, side)), requires_grad=True)
        for k, side in ((3, 12), (4, 6), (5, 3))
    }
    maps = neck.double()(features)
    assert [m.shape[2] for m in maps.values()] == [12, 6, 3, 2]
    maps["c3"].sum().backward()
    assert all(np.abs(features[name].grad).max() > 0 for name in features)


def test_what_is_doubled_must_have_been_halved():
    with pytest.raises(ValueError, match="neck.unpadded must be 0"):
        DeconvolutionMaps({"c3": Map(4, 8)}, DeconvolutionSettings((8,), (8, 8), 1))
