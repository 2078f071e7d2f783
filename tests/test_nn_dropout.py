"""Dropout: which elements go, how the others grow, and where the choice comes from."""

import numpy as np
import pytest
from nn_checks import leaves

import nn
from nn import functional as F


def test_elements_are_dropped_or_grow():
    (x,) = leaves(np.full((200, 100), 3.0))
    out = F.dropout(x, 0.25, rng=np.random.default_rng(0))
    assert set(np.unique(out.data)) == {0.0, 4.0}
    assert abs((out.data == 0).mean() - 0.25) < 0.01
    out.backward(np.full(x.shape, 6.0))
    np.testing.assert_array_equal(x.grad, 2 * out.data)


def test_evaluation_and_the_ends_of_p():
    x = nn.Tensor(np.arange(5.0))
    assert F.dropout(x, 0.5, training=False) is x
    np.testing.assert_array_equal(F.dropout(x, 0.0).data, x.data)
    np.testing.assert_array_equal(F.dropout(x, 1.0).data, 0)
    with pytest.raises(ValueError, match="p is a probability, 0 to 1, not 1.5"):
        F.dropout(x, 1.5)


def test_the_seed_decides():
    x = nn.Tensor(np.ones(1000, np.float32))
    nn.manual_seed(7)
    first, second = F.dropout(x).data, F.dropout(x).data
    nn.manual_seed(7)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(F.dropout(x).data, first)
    assert (first != second).any()
