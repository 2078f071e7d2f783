"""The region proposal network: its size, the order of its outputs, its targets and its losses."""

import math

import numpy as np
import pytest

import nn
from detector.boxes import encode
from detector.heads.rpn import AnchorTargets, RegionProposalNetwork, RPNSettings
from detector.parts.anchors import AnchorSettings
from detector.parts.matching import AnchorMatcher
from detector.parts.proposals import ProposalSelector
from detector.parts.sampling import AnchorSampler

SIZE = (64, 96)
ANCHORS = AnchorSettings(sizes=(16, 32), ratios=(0.5, 1, 2))
GENERATOR = ANCHORS.generator(16)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def tiny_rpn(**options):
    nn.manual_seed(3)
    settings = RPNSettings(channels=7, init="he", anchors=ANCHORS, **options)
    return RegionProposalNetwork(5, settings)


def features(images=2, dtype=np.float32, seed=0):
    return nn.Tensor(generator(seed).normal(0, 1, (images, 5, 4, 6)).astype(dtype))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("channels", "expected"), [(232, 557_914), (352, 834_394)])
def test_size_in_the_thesis_s_setting(channels, expected):
    assert count(RegionProposalNetwork(channels)) == expected


def test_one_output_per_anchor_has_half_the_weights():
    two = RegionProposalNetwork(232)
    one = RegionProposalNetwork(232, RPNSettings(outputs=1))
    assert count(two) - count(one) == 15 * 257


def test_two_outputs_mean_a_softmax():
    rpn = tiny_rpn(outputs=2)
    x = features()
    objectness, _ = rpn(x)
    pairs = rpn.objectness(rpn.conv(x)).data.reshape(2, 6, 2, 4, 6)
    probability = np.exp(pairs[:, :, 1]) / np.exp(pairs).sum(axis=2)
    expected = probability.transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_allclose(1 / (1 + np.exp(-objectness.data)), expected, rtol=1e-5)


def test_outputs_are_in_the_order_of_the_anchors():
    rpn = tiny_rpn(outputs=1)
    x = features()
    objectness, deltas = rpn(x)
    assert objectness.shape == (2, 4 * 6 * 6) and deltas.shape == (2, 4 * 6 * 6, 4)
    hidden = rpn.conv(x)
    scores, moves = rpn.objectness(hidden).data, rpn.deltas(hidden).data
    for n, y, xx, a in [(0, 0, 0, 0), (1, 3, 5, 5), (0, 2, 4, 1), (1, 1, 0, 3)]:
        m = (y * 6 + xx) * 6 + a
        assert objectness.data[n, m] == scores[n, a, y, xx]
        assert deltas.data[n, m].tolist() == moves[n, 4 * a : 4 * a + 4, y, xx].tolist()


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_prior_is_what_an_untrained_network_says(outputs):
    rpn = tiny_rpn(prior=0.02, outputs=outputs)
    objectness, _ = rpn(nn.Tensor(np.zeros((1, 5, 4, 6), np.float32)))
    np.testing.assert_allclose(1 / (1 + np.exp(-objectness.data)), 0.02, rtol=1e-5)


def test_initial_weights():
    nn.manual_seed(0)
    thesis = RegionProposalNetwork(64)
    he = RegionProposalNetwork(64, RPNSettings(init="he"))
    assert thesis.conv[0].weight.data.std() == pytest.approx(0.01, rel=0.05)
    assert he.conv[0].weight.data.std() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)
    for rpn in (thesis, he):
        assert rpn.deltas.weight.data.std() == pytest.approx(0.01, rel=0.05)
        assert not rpn.conv[0].bias.data.any() and not rpn.objectness.bias.data.any()


def test_batch_norm_replaces_the_bias():
    rpn = tiny_rpn(norm="batch")
    assert rpn.conv[0].bias is None and isinstance(rpn.conv[1], nn.BatchNorm2d)


# Targets


def targets():
    return [
        {"boxes": np.float32([[10, 10, 40, 42]]), "labels": np.array([1])},
        {"boxes": np.float32([[10, 10, 40, 42], [50, 20, 60, 28]]), "labels": np.array([1, 2])},
    ]


def test_assign_numbers_the_anchors_of_the_whole_batch():
    rpn = tiny_rpn(sampler=AnchorSampler(40))
    anchors = GENERATOR.grid((4, 6))
    assigned = rpn.assign(anchors, targets(), [SIZE, SIZE], generator())
    assert len(assigned.sampled) == 80 and len(assigned.weights) == 80
    row = 0
    for number, is_object in zip(assigned.sampled, assigned.is_object, strict=True):
        n, m = divmod(int(number), len(anchors))
        match = rpn.settings.matcher(anchors, targets()[n]["boxes"], SIZE)
        assert match.labels[m] == int(is_object)
        if is_object:
            box = targets()[n]["boxes"][match.matched[m]]
            np.testing.assert_allclose(
                assigned.deltas[row], encode(box[None], anchors[[m]])[0], rtol=1e-6
            )
            row += 1
    assert row == len(assigned.deltas) >= 3
    np.testing.assert_array_equal(assigned.weights, 1)
    assert set(assigned.sampled // len(anchors)) == {0, 1}


def test_objects_can_weigh_the_same():
    rpn = tiny_rpn(balance="object", matcher=AnchorMatcher(anchors_per_box=4, extra_iou=0.1))
    anchors = GENERATOR.grid((4, 6))
    two_objects = targets()[1]
    assigned = rpn.assign(anchors, [two_objects], [SIZE], generator())
    match = rpn.settings.matcher(anchors, two_objects["boxes"], SIZE)
    matched = match.matched[assigned.sampled[assigned.is_object]]
    weights = assigned.weights[assigned.is_object]
    assert (matched == 0).sum() != (matched == 1).sum()
    assert weights[matched == 0].sum() == pytest.approx(weights[matched == 1].sum())
    assert weights.sum() == pytest.approx(len(weights))
    np.testing.assert_array_equal(assigned.weights[~assigned.is_object], 1)


def test_images_of_different_sizes_in_one_batch():
    rpn = tiny_rpn()
    anchors = GENERATOR.grid((4, 6))
    assigned = rpn.assign(anchors, targets(), [(32, 32), SIZE], generator())
    first = assigned.sampled[assigned.sampled < len(anchors)]
    assert len(first) and (anchors[first][:, 2:] <= 32).all()
    second = assigned.sampled[assigned.sampled >= len(anchors)] - len(anchors)
    assert (anchors[second][:, 2:] > 32).any()


# Losses


def slow_losses(objectness, deltas, assigned, beta, normalizer):
    """Binary cross-entropy and smooth L1, one anchor at a time."""
    scores, moves = objectness.reshape(-1).tolist(), deltas.reshape(-1, 4).tolist()
    entropy, distance, row = 0.0, 0.0, 0
    for number, is_object, weight in zip(*assigned[:3], strict=True):
        p = 1 / (1 + math.exp(-scores[number]))
        entropy -= weight * math.log(p if is_object else 1 - p)
        if is_object:
            for move, wanted in zip(moves[number], assigned.deltas[row], strict=True):
                d = abs(move - wanted)
                distance += weight * (0.5 * d * d / beta if d < beta else d - 0.5 * beta)
            row += 1
    examples = len(assigned.sampled) if normalizer == "sampled" else row
    return entropy / len(assigned.sampled), distance / examples


@pytest.mark.parametrize("normalizer", ["sampled", "positive"])
@pytest.mark.parametrize("balance", ["anchor", "object"])
def test_losses_equal_the_loop(normalizer, balance):
    rpn = tiny_rpn(
        box_normalizer=normalizer,
        balance=balance,
        sampler=AnchorSampler(40),
        matcher=AnchorMatcher(anchors_per_box=4, extra_iou=0.1),
    )
    assigned = rpn.assign(GENERATOR.grid((4, 6)), targets(), [SIZE, SIZE], generator())
    assert (len(np.unique(assigned.weights)) > 1) == (balance == "object")
    # Outputs of a trained size, on both sides of the smooth L1 loss's bend.
    objectness = nn.Tensor(generator(1).normal(0, 2, (2, 144)).astype(np.float32))
    deltas = nn.Tensor(generator(2).normal(0, 0.3, (2, 144, 4)).astype(np.float32))
    losses = rpn.loss(objectness, deltas, assigned)
    expected = slow_losses(objectness.data, deltas.data, assigned, 1 / 9, normalizer)
    assert losses["rpn_objectness"].item() == pytest.approx(expected[0], rel=1e-5)
    assert losses["rpn_box"].item() == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize("normalizer", ["sampled", "positive"])
def test_an_image_without_objects(normalizer):
    rpn = tiny_rpn(box_normalizer=normalizer)
    empty = [{"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}]
    assigned = rpn.assign(GENERATOR.grid((4, 6)), empty, [SIZE], generator())
    assert not assigned.is_object.any() and len(assigned.sampled)
    objectness, deltas = rpn(features(1))
    losses = rpn.loss(objectness, deltas, assigned)
    assert losses["rpn_box"].item() == 0
    assert losses["rpn_objectness"].item() == pytest.approx(math.log(2), abs=0.3)
    sum(losses.values()).backward()
    np.testing.assert_array_equal(rpn.deltas.weight.grad, 0)
    assert np.abs(rpn.objectness.weight.grad).max() > 0


def test_an_image_smaller_than_every_anchor():
    rpn = tiny_rpn()
    assigned = rpn.assign(GENERATOR.grid((4, 6)), targets()[:1], [(3, 3)], generator())
    assert len(assigned.sampled) == 0
    losses = rpn.loss(*rpn(features(1)), assigned)
    assert losses["rpn_objectness"].item() == 0 and losses["rpn_box"].item() == 0
    sum(losses.values()).backward()


def test_gradients():
    rpn = tiny_rpn(balance="object").double()
    rpn.deltas.weight.data *= 30  # some deltas beyond the bend
    assigned = rpn.assign(GENERATOR.grid((4, 6)), targets(), [SIZE, SIZE], generator())
    x = features(dtype=np.float64)
    x.requires_grad = True
    nn.gradcheck(lambda *_: rpn.loss(*rpn(x), assigned).values(), [x, *rpn.parameters()], atol=1e-8)


# Proposals


def test_training_and_evaluation_propose_differently():
    rpn = tiny_rpn(train_selector=ProposalSelector(100, 9), test_selector=ProposalSelector(100, 4))
    objectness, deltas = rpn(features())
    anchors = GENERATOR.grid((4, 6))
    trained = rpn.propose(objectness, deltas, anchors, [SIZE, (32, 32)])
    assert [len(boxes) for boxes in trained] == [9, 9]
    assert (trained[1] <= 32).all() and trained[0].max() > 32
    tested = rpn.eval().propose(objectness, deltas, anchors, [SIZE, (32, 32)])
    assert [len(boxes) for boxes in tested] == [4, 4]
    expected = ProposalSelector(100, 4)(objectness.data[1], deltas.data[1], anchors, (32, 32))
    np.testing.assert_array_equal(tested[1], expected[0])


def test_targets_are_plain_arrays():
    assert AnchorTargets._fields == ("sampled", "is_object", "weights", "deltas")
