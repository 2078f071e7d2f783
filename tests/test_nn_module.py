"""Modules: parts found by assignment, state in and out, modes."""

import numpy as np
import pytest

import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.register_buffer("count", np.zeros(2, np.float32))

    def forward(self, x):
        return self.rest(self.first(x))


def test_names_keep_the_order_of_assignment():
    names = ["first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in Net().named_parameters()] == names
    assert list(Net().state_dict()) == ["count", *names]


def test_reassigning_keeps_one_entry():
    net = Net()
    net.first = nn.Linear(3, 4, bias=False)
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "rest.1.weight"]
    net.first = None
    assert net.first is None and len(list(net.parameters())) == 1


def test_shared_parameters_count_once():
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    assert len(list(net.parameters())) == 2
    assert "b.weight" in net.state_dict()


def test_assigning_before_init_is_explained():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match="super"):
        Early()


def test_state_round_trip_and_seed():
    nn.manual_seed(1)
    one = Net()
    nn.manual_seed(1)
    same = Net()
    other = Net()
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, same.state_dict()[name])
    other.load_state_dict({k: v.copy() for k, v in one.state_dict().items()})
    np.testing.assert_array_equal(other.first.weight.data, one.first.weight.data)


def test_load_names_everything_that_does_not_fit():
    state = Net().state_dict()
    del state["first.bias"]
    state["first.weight"] = np.zeros((4, 5), np.float32)
    state["extra"] = np.zeros(1)
    net = Net()
    before = net.rest[1].weight.data.copy()
    state["rest.1.weight"] = before + 1
    with pytest.raises(ValueError) as error:
        net.load_state_dict(state)
    for part in ("(4, 5) given, (4, 3) expected", "missing: first.bias", "unexpected: extra"):
        assert part in str(error.value)
    np.testing.assert_array_equal(net.rest[1].weight.data, before)
    del state["first.weight"]
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["first.weight", "first.bias"]
    assert result.unexpected_keys == ["extra"]
    assert tuple(result) == (result.missing_keys, result.unexpected_keys)


def test_sequential_takes_names():
    net = nn.Sequential({"norm": nn.BatchNorm2d(2), "relu": nn.ReLU()})
    assert list(net.state_dict())[0] == "norm.weight" and len(net) == 2
    assert isinstance(net.relu, nn.ReLU) and len(nn.Sequential()) == 0


def test_train_eval_reach_every_module():
    net = Net()
    net.eval()
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())


def test_evaluating_restores_every_modules_own_mode():
    net = Net()
    net.rest.eval()
    modes = [module.training for module in net.modules()]
    with pytest.raises(KeyError), nn.evaluating(net):
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert [module.training for module in net.modules()] == modes


def test_repr_shows_the_tree():
    assert "(1): Linear(4, 2)" in repr(Net())


def test_forward_hook_sees_inputs_and_output():
    net, seen = Net(), []
    hook = net.first.register_forward_hook(lambda m, i, o: seen.append((i[0].shape, o.shape)))
    net(nn.Tensor(np.ones((5, 3), np.float32)))
    hook.remove()
    net(nn.Tensor(np.ones((5, 3), np.float32)))
    assert seen == [((5, 3), (5, 4))]
