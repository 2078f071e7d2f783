"""The example from R-CNN to Faster R-CNN: its measure by hand, its steps on a small detector."""

import importlib.util
import re
from pathlib import Path

import numpy as np
from small_data_set import picture
from small_detectors import small_detector

import nn

PATH = Path(__file__).parents[1] / "examples" / "proposals.py"
spec = importlib.util.spec_from_file_location("proposals_example", PATH)
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)

BOXES = np.float32([[4, 4, 40, 30], [20.5, 10.2, 60.4, 47.9], [0, 0, 64, 48]])


def test_recall_by_hand():
    truths = [BOXES[:2], BOXES[:0]]
    proposals = [BOXES[[2, 1, 0]], BOXES]
    assert [example.recall(proposals, truths, count) for count in (1, 2, 3)] == [0.0, 0.5, 1.0]


def test_its_manual_names_the_options_that_it_has():
    options = re.findall(r'add_argument\("(--\w+)"', PATH.read_text(encoding="utf-8"))
    assert set(re.findall(r"--\w+", example.__doc__)) == set(options)


def test_both_steps_see_the_same_kind_of_features():
    model = small_detector("light-head-rcnn").eval()
    with nn.no_grad():
        one, other = (step(model, picture(), BOXES) for step in (example.r_cnn, example.fast_r_cnn))
        proposals = example.region_proposals(model, picture())
    assert one.shape == other.shape and len(one) == len(BOXES)
    assert np.isfinite(one).all() and np.isfinite(other).all()
    assert proposals.shape[1] == 4 and 0 < len(proposals) <= 300
