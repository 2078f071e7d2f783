"""CondenseNet learns its groups: what is given up when; what is left computes the same."""

import numpy as np
import pytest
from network_cases import filled, picture

import nn
from nn.models.condensenet import CondenseNet, LearnedConv

LAYERS, GROWTH = (1, 2, 1, 1, 1), (4, 4, 4, 8, 8)


def network(groups=4):
    model = CondenseNet(groups, 6, learned=True, layers=LAYERS, growth=GROWTH)
    masks = [conv.mask for conv in model.learned_convolutions()]
    filled(model)
    for mask in masks:
        mask[...] = 1
    return model.eval()


def test_inputs_are_given_up_in_the_first_half_of_the_training():
    model = network()
    left = []
    for progress in (0.0, 0.16, 0.17, 0.33, 0.34, 0.49, 0.5, 1.0):
        model.condense(progress)
        left.append(model.learned_convolutions()[0].mask.mean())
    assert left == [1, 1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25]


def test_every_group_gives_up_those_with_the_least_weights():
    nn.manual_seed(0)
    conv = LearnedConv(8, 12, groups=4)
    weights = np.abs(conv.conv.weight.data[:, :, 0, 0])
    conv.condense()
    for group in range(4):
        sums = [sum(weights[row, column] for row in range(group, 12, 4)) for column in range(8)]
        kept = sorted(range(8), key=lambda column: sums[column])[2:]
        for row in range(group, 12, 4):
            assert list(np.flatnonzero(conv.mask[row, :, 0, 0])) == sorted(kept)
    before = conv.mask.copy()
    conv.condense()
    assert (conv.mask <= before).all() and conv.mask.mean() == 0.5


@pytest.mark.parametrize("groups", [2, 4])
def test_what_is_left_computes_the_same(groups):
    model = network(groups)
    converted = model.converted().eval()
    assert not converted.learned_convolutions()
    # Of the classes it keeps half of the inputs: those that it dropped count nothing.
    weight, index = model.output.linear.weight.data, converted.output.index
    dropped = np.setdiff1d(np.arange(weight.shape[1]), index)
    strengths = np.abs(weight).sum(axis=0)
    assert strengths[dropped].max() <= strengths[index].min()
    weight[:, dropped] = 0
    images = nn.Tensor(picture(2, 3, 64, 64))
    with nn.no_grad():
        np.testing.assert_allclose(converted(images).data, model(images).data, rtol=1e-4, atol=1e-5)


def test_group_lasso_is_the_sum_of_norms():
    nn.manual_seed(0)
    conv = LearnedConv(8, 12, groups=4)
    conv.condense()
    weights = conv.conv.weight.data[:, :, 0, 0] * conv.mask[:, :, 0, 0]
    expected = sum(
        np.sqrt(sum(float(weights[row, column]) ** 2 for row in range(group, 12, 4)))
        for group in range(4)
        for column in range(8)
    )
    assert conv.group_lasso().item() == pytest.approx(expected, rel=1e-5)
