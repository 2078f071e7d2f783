"""The page of detectors lists every row of the table, with the parameters that it has."""

import re
from pathlib import Path

import pytest

from detector.detectors import DETECTORS

PAGE = (Path(__file__).parents[1] / "docs" / "detectors.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\S+)` \| `(\S+)` \| ([\d,]+) \|", PAGE, re.MULTILINE)
NOT_MADE_HERE = {"yolo-v1"}  # a gigabyte: tests/test_detector_yolo_v1.py


def test_it_lists_every_detector():
    assert sorted(name for name, *_ in ROWS) == sorted(DETECTORS)


@pytest.mark.parametrize("name, backbone, parameters", ROWS)
def test_it_says_what_a_detector_has(name, backbone, parameters):
    if name in NOT_MADE_HERE:
        pytest.skip("too large")
    model = DETECTORS[name](20)
    assert model.settings.backbone == backbone
    assert f"{sum(each.numel() for each in model.parameters()):,}" == parameters
