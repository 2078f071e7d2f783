"""The score from which detections are worth showing: hand-made cases, and a slow count of all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.evaluation.threshold import best_threshold


def truth(*boxes, crowd=()):
    return {
        "annotations": [
            {"id": k, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
            for k, (image, category, box) in enumerate(boxes)
        ]
        + [
            {"id": -k, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 1}
            for k, (image, category, box) in enumerate(crowd)
        ]
    }


def found(*entries):
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in entries
    ]


BOX, OTHER, AWAY = [0, 0, 10, 10], [20, 20, 10, 10], [50, 50, 10, 10]


def test_hand_made():
    objects = truth((1, 1, BOX), (1, 1, OTHER), (2, 1, BOX), (2, 2, BOX))
    detections = found(
        (1, 1, BOX, 0.9),  # right
        (1, 1, BOX, 0.8),  # the same object again
        (2, 1, BOX, 0.7),  # right
        (2, 2, BOX, 0.6),  # right
        (1, 1, AWAY, 0.5),  # nothing there
        (1, 2, OTHER, 0.4),  # of another class
        (1, 1, OTHER, 0.1),  # right, late
    )
    best = best_threshold(objects, detections)
    # After the fourth: 3 of 4 shown are right, 3 of 4 objects found. After the last: 4 of 7.
    assert best.score == pytest.approx(0.55) and best.f1 == pytest.approx(0.75)
    assert best.precision == pytest.approx(0.75) and best.recall == pytest.approx(0.75)


def test_crowds_and_nothing():
    assert best_threshold(truth(crowd=[(1, 1, BOX)]), found((1, 1, BOX, 0.9))) is None
    assert best_threshold(truth((1, 1, BOX)), []) is None
    assert best_threshold(truth((1, 1, BOX)), found((1, 1, AWAY, 0.9))) is None
    objects = truth((1, 1, BOX), crowd=[(1, 1, AWAY)])
    best = best_threshold(objects, found((1, 1, AWAY, 0.9), (1, 1, BOX, 0.5)))
    assert best.precision == 1 and best.recall == 1 and best.score == pytest.approx(0.25)


boxes = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), boxes), min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(1, 2), boxes, st.integers(1, 9)), max_size=12
    ),
)
def test_no_other_score_is_better(objects, detections):
    """Counted for every possible score by two loops, with pycocotools' overlap."""
    from pycocotools import mask

    objects = [(i, c, list(map(float, box))) for i, c, box in objects]
    entries = [(i, c, list(map(float, box)), score / 10) for i, c, box, score in detections]

    def f1(least: float) -> float:
        shown = sorted((e for e in entries if e[3] >= least), key=lambda e: -e[3])
        free, right = list(range(len(objects))), 0
        for image, category, box, _ in shown:
            ious = {
                k: mask.iou([box], [objects[k][2]], [0])[0, 0]
                for k in free
                if objects[k][:2] == (image, category)
            }
            if ious and max(ious.values()) >= 0.5:
                right += 1
                free.remove(max(ious, key=ious.get))
        return 2 * right / (len(shown) + len(objects)) if shown else 0.0

    highest = max((f1(score / 10) for score in range(1, 10)), default=0.0)
    best = best_threshold(truth(*objects), found(*entries))
    assert (best.f1 if best else 0.0) == pytest.approx(highest)
    if best:
        assert f1(best.score) == pytest.approx(highest) and np.isfinite(best).all()
