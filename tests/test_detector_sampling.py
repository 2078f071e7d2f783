"""Which anchors and proposals are trained with: counts, balance, randomness, hard examples."""

import numpy as np
import pytest

from detector.parts.matching import IGNORED, NEGATIVE, POSITIVE
from detector.parts.ohem import hardest
from detector.parts.sampling import AnchorSampler, RoISampler, choose, object_weights


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def labels_of(positive, negative, ignored):
    labels = np.repeat(np.int8([POSITIVE, NEGATIVE, IGNORED]), [positive, negative, ignored])
    return generator(1).permutation(labels)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (500, 5000, (128, 128)),
        (10, 5000, (10, 246)),
        (500, 7, (128, 7)),
        (0, 5000, (0, 256)),
        (3, 4, (3, 4)),
        (0, 0, (0, 0)),
    ],
)
def test_anchor_counts(positive, negative, expected):
    labels = labels_of(positive, negative, 100)
    picked_positive, picked_negative = AnchorSampler(256, 0.5)(labels, generator())
    assert (len(picked_positive), len(picked_negative)) == expected
    assert (labels[picked_positive] == POSITIVE).all()
    assert (labels[picked_negative] == NEGATIVE).all()
    for picked in (picked_positive, picked_negative):
        assert len(np.unique(picked)) == len(picked) and (np.diff(picked) > 0).all()


def test_samples_follow_the_generator():
    labels = labels_of(300, 3000, 0)
    sampler = AnchorSampler()
    for first, second in zip(
        sampler(labels, generator(3)), sampler(labels, generator(3)), strict=True
    ):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(sampler(labels, generator(3))[1], sampler(labels, generator(4))[1])


def test_every_candidate_has_the_same_chance():
    rng = generator()
    counts = np.zeros(10)
    for _ in range(2000):
        counts[choose(np.arange(10), 3, rng)] += 1
    assert abs(counts / 2000 - 0.3).max() < 0.05


def test_object_weights():
    weights = object_weights(np.array([7, 7, 7, 2, 5, 5]))
    # Three objects, six anchors: each object weighs 2 in all.
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2, 1, 1], rtol=1e-6)
    assert object_weights(np.zeros(0, np.int64)).shape == (0,)


# The head's examples

PROPOSALS = np.float32(
    [
        [0, 0, 10, 10],  # the first object exactly
        [0, 0, 10, 6],  # IoU 0.6 with it
        [0, 0, 10, 4],  # 0.4
        [50, 50, 60, 60],  # nothing
        [20, 20, 30, 29],  # the second object, 0.9
    ]
)
BOXES = np.float32([[0, 0, 10, 10], [20, 20, 30, 30]])
LABELS = np.array([3, 5])


def test_all_proposals_and_the_ground_truth_by_default():
    rois = RoISampler()(PROPOSALS, BOXES, LABELS, generator())
    assert rois.labels.dtype == np.int64 and rois.matched.dtype == np.int64
    # Foreground first (two proposals, the last proposal, the two objects), then background.
    np.testing.assert_array_equal(
        rois.boxes, np.concatenate([PROPOSALS[[0, 1, 4]], BOXES, PROPOSALS[[2, 3]]])
    )
    assert rois.labels.tolist() == [3, 3, 5, 3, 5, 0, 0]
    assert rois.matched[:5].tolist() == [0, 0, 1, 0, 1]


def test_background_needs_some_overlap_if_asked():
    rois = RoISampler(background_iou=0.1)(PROPOSALS, BOXES, LABELS, generator())
    assert rois.labels.tolist() == [3, 3, 5, 3, 5, 0]


def test_a_count_and_a_fraction():
    many = np.concatenate([PROPOSALS[[0]].repeat(50, 0), PROPOSALS[[3]].repeat(50, 0)])
    rois = RoISampler(count=20, foreground_fraction=0.25)(many, BOXES, LABELS, generator())
    assert len(rois.labels) == 20 and (rois.labels > 0).sum() == 5
    # Too little background: foreground fills up. Too little foreground: background does.
    few = RoISampler(count=40, foreground_fraction=0.25)(many[:60], BOXES, LABELS, generator())
    assert ((few.labels > 0).sum(), (few.labels == 0).sum()) == (30, 10)
    few = RoISampler(count=40, foreground_fraction=0.25)(many[48:], BOXES, LABELS, generator())
    assert ((few.labels > 0).sum(), (few.labels == 0).sum()) == (4, 36)


def test_an_image_without_objects_is_all_background():
    rois = RoISampler()(PROPOSALS, np.zeros((0, 4)), np.zeros(0, np.int64), generator())
    np.testing.assert_array_equal(rois.boxes, PROPOSALS)
    assert rois.labels.tolist() == [0] * 5


def test_no_proposals_at_all():
    empty = np.zeros((0, 4), np.float32)
    rois = RoISampler()(empty, BOXES, LABELS, generator())
    assert rois.labels.tolist() == [3, 5]
    rois = RoISampler(count=8)(empty, empty, np.zeros(0, np.int64), generator())
    assert rois.boxes.shape == (0, 4) and rois.labels.shape == (0,)


def test_an_object_without_area_is_background():
    flat = np.float32([[5, 5, 5, 9]])
    rois = RoISampler()(PROPOSALS, flat, np.array([1]), generator())
    assert rois.labels.tolist() == [0] * 6


def test_background_in_a_crowd_is_dropped():
    rois = RoISampler()(PROPOSALS, BOXES, LABELS, generator(), ignore=[[45, 45, 70, 70]])
    assert rois.labels.tolist() == [3, 3, 5, 3, 5, 0]
    assert [50, 50, 60, 60] not in rois.boxes.tolist()


# Hard examples


def test_hardest_equals_sorting():
    losses = generator().integers(0, 30, 100) / 10  # many ties
    for keep in (0, 1, 17, 100, 500):
        expected = sorted(sorted(range(100), key=lambda k: (-losses[k], k))[:keep])
        picked = hardest(losses, keep)
        assert picked.tolist() == expected and picked.dtype == np.int64


def test_a_loss_that_is_no_number_is_the_hardest():
    assert hardest(np.array([1.0, 9.0, np.nan, 3.0]), 2).tolist() == [1, 2]
