"""nn.summary: counts against hand computations, and the ways a model can be odd."""

from __future__ import annotations

import numpy as np
import pytest

import nn


def row_of(model, shape):
    (row,) = nn.summary(model, shape).rows
    return row


def test_a_pointwise_convolution_is_the_thesis_equation():
    c1, c2, h, w = 6, 10, 4, 5
    row = row_of(nn.Conv2d(c1, c2, 1, bias=False), (1, c1, h, w))
    assert row.memory_access == h * w * (c1 + c2) + c1 * c2  # equation 3-1
    assert row.multiply_adds == h * w * c1 * c2
    assert row.parameters == c1 * c2
    assert row.output_shape == (1, c2, h, w)


def test_equal_widths_minimise_memory_access_at_equal_multiply_adds():
    """The thesis's P1: of all c1 c2 = 64, c1 = c2 moves least, and reaches equation 3-1's bound."""
    rows = {
        c1: row_of(nn.Conv2d(c1, 64 // c1, 1, bias=False), (1, c1, 8, 8))
        for c1 in (1, 2, 4, 8, 16, 32, 64)
    }
    costs = {c1: row.memory_access for c1, row in rows.items()}
    assert min(costs, key=costs.get) == 8
    flops = rows[8].multiply_adds
    assert {row.multiply_adds for row in rows.values()} == {flops}
    assert costs[8] == 2 * np.sqrt(8 * 8 * flops) + flops / (8 * 8)


def test_a_convolution_with_everything():
    row = row_of(nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2), (2, 4, 9, 11))
    assert row.output_shape == (2, 6, 5, 6)
    assert row.parameters == 6 * 2 * 15 + 6
    assert row.multiply_adds == (2 * 6 * 5 * 6) * (2 * 15)
    assert row.memory_access == 2 * 4 * 9 * 11 + 2 * 6 * 5 * 6 + row.parameters


def test_a_linear_layer_and_layers_without_multiply_adds():
    row = row_of(nn.Linear(7, 3), (5, 7))
    assert (row.parameters, row.multiply_adds, row.memory_access) == (24, 105, 35 + 15 + 24)
    row = row_of(nn.BatchNorm2d(3), (1, 3, 4, 4))
    assert (row.parameters, row.multiply_adds, row.memory_access) == (6, 0, 48 + 48 + 6)
    row = row_of(nn.MaxPool2d(2), (1, 3, 4, 4))
    assert (row.parameters, row.multiply_adds, row.memory_access) == (0, 0, 48 + 12)


def test_a_transposed_convolution_multiplies_each_input_with_its_window():
    row = row_of(nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2, bias=False), (2, 4, 5, 7))
    assert row.output_shape == (2, 6, 11, 14)
    assert row.multiply_adds == (2 * 4 * 5 * 7) * (3 * 3 * 2)


class Odd(nn.Module):
    """A layer called twice, one never, one that shares its weight, a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(np.ones((1, 2, 1, 1), np.float32))
        self.twice = nn.Conv2d(2, 2, 1, bias=False)
        self.tied = nn.Conv2d(2, 2, 1, bias=False)
        self.tied.weight = self.twice.weight
        self.idle = nn.Linear(3, 4)
        self.nothing = nn.Identity()
        self.empty = nn.Sequential()

    def forward(self, x):
        x = self.empty(self.nothing(self.tied(self.twice(self.twice(x)))))
        return {"maps": [x * self.scale]}


def test_every_call_has_a_row_and_every_parameter_counts_once():
    costs = nn.summary(Odd(), (1, 2, 3, 3))
    assert [(row.name, row.output_shape, row.parameters, row.multiply_adds) for row in costs.rows][
        :3
    ] == [
        ("twice", (1, 2, 3, 3), 4, 36),
        ("twice", (1, 2, 3, 3), 0, 36),
        ("tied", (1, 2, 3, 3), 0, 36),
    ]
    by_name = {row.name: row for row in costs.rows}
    assert by_name[""].parameters == 2 and by_name[""].output_shape == (1, 2, 3, 3)
    assert by_name["idle"] == ("idle", "Linear", None, 16, 0, 0)
    assert "nothing" not in by_name
    assert costs.parameters == sum(parameter.numel() for parameter in Odd().parameters()) == 22
    assert costs.multiply_adds == 108
    assert costs.memory_access == sum(row.memory_access for row in costs.rows)


def test_three_numbers_are_one_image():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert nn.summary(model, (3, 8, 8)).rows == nn.summary(model, [1, 3, 8, 8]).rows


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[0].eval()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    nn.summary(model, (1, 3, 8, 8))
    with pytest.raises(ValueError):
        nn.summary(model, (1, 4, 8, 8))
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert not any(module._hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_table_names_every_layer_and_ends_with_the_totals():
    model = nn.Sequential(nn.Conv2d(3, 400, 3), nn.ReLU())
    lines = str(nn.summary(model, (1, 3, 8, 8))).splitlines()
    assert lines[0].split() == [
        "layer", "kind", "output", "parameters", "multiply-adds", "memory", "access",
    ]  # fmt: skip
    assert lines[2].split() == [
        "0", "Conv2d", "1", "x", "400", "x", "6", "x", "6", "11,200", "388,800", "25,792",
    ]  # fmt: skip
    assert lines[-1].split() == ["total", "11,200", "388,800", "54,592"]
    assert len({len(line) for line in lines}) == 1
    assert "not called" in str(nn.summary(Odd(), (1, 2, 3, 3)))


@pytest.mark.parametrize(
    "shape", [(), 5, None, "abc", (1, 3, 0, 8), (1, 3, -8, 8), (1, 3, 8.5, 8), (1, "3", 8, 8)]
)
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match="is not positive integers like"):
        nn.summary(nn.ReLU(), shape)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3), (1, 3, 8, 8, 8), (1, 3, 1, 1)])
def test_a_shape_the_model_does_not_take_is_refused_with_its_reason(shape):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ValueError, match=r"Sequential does not take input of shape \(1, .*: .+"):
        nn.summary(model, shape)
