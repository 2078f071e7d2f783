"""ShuffleNet v2: the published counts to the unit, torchvision's names, and a twin in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import nn
from nn.models.shufflenet_v2 import InvertedResidual

# width, first block: parameters and multiply-adds at 224 x 224. The "paper" multiply-adds, rounded
# up, are 41, 146, 299 and 591 million, the thesis's table 3.2.
COUNTS = {
    (0.5, "torchvision"): (1_366_792, 40_476_448),
    (1.0, "torchvision"): (2_278_604, 144_907_992),
    (1.5, "torchvision"): (3_503_624, 295_759_392),
    (2.0, "torchvision"): (7_393_996, 583_253_464),
    (0.5, "paper"): (1_365_792, 40_476_448),
    (1.0, "paper"): (2_278_760, 145_814_296),
    (1.5, "paper"): (3_506_720, 298_970_656),
    (2.0, "paper"): (7_402_600, 590_783_000),
}

# What the extra depthwise convolutions of v2* add.
EXTRA = {
    0.5: (9_504, 2_413_152),
    1.0: (22_594, 4_872_168),
    1.5: (34_144, 7_041_888),
    2.0: (47_234, 9_500_904),
}


def counts(**options):
    costs = nn.summary(nn.models.shufflenet_v2(**options), (1, 3, 224, 224))
    return costs.parameters, costs.multiply_adds


@pytest.mark.parametrize("width, first_block", COUNTS)
def test_parameters_and_multiply_adds_are_the_published_ones(width, first_block):
    assert counts(width=width, first_block=first_block) == COUNTS[width, first_block]


@pytest.mark.parametrize("width", EXTRA)
def test_the_extra_depthwise_convolutions_cost_what_the_paper_says(width):
    plain, more = COUNTS[width, "torchvision"], EXTRA[width]
    assert counts(width=width, extra_depthwise=True) == (plain[0] + more[0], plain[1] + more[1])


def torchvision_keys():
    """The 338 names of torchvision's state_dict, in its order."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def branch(prefix, kinds):
        for index, kind in enumerate(kinds):
            if kind == "conv":
                yield f"{prefix}.{index}.weight"
            elif kind == "norm":
                yield from (f"{prefix}.{index}.{name}" for name in norm)

    stem = ("conv", "norm", "relu")
    yield from branch("conv1", stem)
    for stage, blocks in (("stage2", 4), ("stage3", 8), ("stage4", 4)):
        for block in range(blocks):
            if block == 0:
                yield from branch(f"{stage}.0.branch1", ("conv", "norm", *stem))
            yield from branch(f"{stage}.{block}.branch2", (*stem, "conv", "norm", *stem))
    yield from branch("conv5", stem)
    yield from ("fc.weight", "fc.bias")


def test_the_names_are_torchvisions_in_its_order():
    keys = list(torchvision_keys())
    assert len(keys) == 338
    assert list(nn.models.shufflenet_v2(0.5).state_dict()) == keys


def test_the_extra_layers_leave_the_other_names_alone():
    extra = list(nn.models.shufflenet_v2(0.5, extra_depthwise=True).state_dict())
    assert [key for key in extra if ".extra." not in key] == list(torchvision_keys())
    assert sum(key.endswith(".extra.0.weight") for key in extra) == 16


@pytest.mark.parametrize(
    "size, maps", [((64, 96), ((16, 24), (8, 12), (4, 6), (2, 3))), ((33, 31), None)]
)
def test_a_backbone_gives_the_map_of_each_stage(size, maps):
    model = nn.models.shufflenet_v2(1.0, num_classes=None).eval()
    assert not any(key.startswith(("conv5", "fc")) for key in model.state_dict())
    with nn.no_grad():
        features = model.features(nn.Tensor(np.zeros((2, 3, *size), np.float32)))
    assert list(features) == ["c2", "c3", "c4", "c5"] == list(model.maps)
    for index, (name, map_) in enumerate(features.items()):
        channels, stride = model.maps[name]
        expected = maps[index] if maps else tuple(-(-edge // stride) for edge in size)
        assert map_.shape == (2, channels, *expected)
    assert tuple(channels for channels, _ in model.maps.values()) == (24, 116, 232, 464)
    assert model.stage_channels == (24, 116, 232, 464, 1024)
    assert model.preprocessing == nn.models.IMAGENET


def test_the_number_of_classes_is_the_callers():
    model = nn.models.shufflenet_v2(0.5, num_classes=7).eval()
    with nn.no_grad():
        assert model(nn.Tensor(np.zeros((2, 3, 32, 32), np.float32))).shape == (2, 7)


@pytest.mark.parametrize("options", [{"width": 0.75}, {"first_block": "megvii"}])
def test_unknown_variants_are_refused_with_the_known_ones(options):
    with pytest.raises(ValueError, match="expected (one of .0.5, 1.0, 1.5, 2.0|'torchvision' or)"):
        nn.models.shufflenet_v2(**options)


def test_the_same_seed_gives_the_same_weights():
    models = []
    for seed in (1, 1, 2):
        nn.manual_seed(seed)
        models.append(nn.models.shufflenet_v2(0.5).state_dict())
    assert all(np.array_equal(models[0][key], models[1][key]) for key in models[0])
    assert not np.array_equal(models[0]["fc.weight"], models[2]["fc.weight"])


@pytest.mark.parametrize("stride, left", [(1, 4), (2, 4), (2, 2)])
@pytest.mark.parametrize("extra_depthwise", [False, True])
def test_gradients_of_a_block(stride, left, extra_depthwise):
    nn.manual_seed(3)
    block = InvertedResidual(8 if stride == 1 else 2, 8, stride, left, extra_depthwise).double()
    rng = np.random.default_rng(3)
    shape = (2, 8 if stride == 1 else 2, 5, 6)
    inputs = [nn.Tensor(rng.standard_normal(shape), requires_grad=True), *block.parameters()]
    nn.gradcheck(lambda input, *_: block(input), inputs, eps=1e-6, atol=1e-5, rtol=1e-3)


def test_a_block_passes_half_of_the_channels_untouched():
    block = InvertedResidual(8, 8, 1, 4, False).eval()
    input = np.random.default_rng(0).standard_normal((1, 8, 3, 3)).astype(np.float32)
    output = block(nn.Tensor(input)).data
    np.testing.assert_array_equal(output[:, 0::2], input[:, :4])
    right = block.branch2(nn.Tensor(np.ascontiguousarray(input[:, 4:]))).data
    np.testing.assert_array_equal(output[:, 1::2], right)


# The twin: the paper's figure 3 in PyTorch, with torchvision's names, written independently.


def build_twin(torch, width, num_classes, first_block, extra_depthwise):
    from torch import nn as tnn

    channels = {0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024)}[width]

    def conv(c_in, c_out, size=1, stride=1, groups=1):
        return [
            tnn.Conv2d(c_in, c_out, size, stride, size // 2, groups=groups, bias=False),
            tnn.BatchNorm2d(c_out),
        ]

    class Block(tnn.Module):
        def __init__(self, c_in, c_out, first, paper):
            super().__init__()
            self.first = first
            kept = c_in if paper else c_out // 2
            branch_in = c_in if first else c_out // 2
            stride = 2 if first else 1
            relu = [tnn.ReLU()]
            if first:
                self.branch1 = tnn.Sequential(
                    *conv(c_in, c_in, 3, 2, c_in), *conv(c_in, kept), *relu
                )
            else:
                self.branch1 = tnn.Sequential()
            self.extra = tnn.Sequential(
                *(conv(branch_in, branch_in, 3, 1, branch_in) if extra_depthwise else [])
            )
            half = c_out // 2
            self.branch2 = tnn.Sequential(
                *conv(branch_in, half), *relu,
                *conv(half, half, 3, stride, half),
                *conv(half, c_out - kept), *relu,
            )  # fmt: skip

        def forward(self, x):
            a, b = (self.branch1(x), x) if self.first else x.chunk(2, 1)
            x = torch.cat([a, self.branch2(self.extra(b))], 1)
            n, c, h, w = x.shape
            return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    class Twin(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tnn.Sequential(*conv(3, 24, 3, 2), tnn.ReLU())
            self.maxpool = tnn.MaxPool2d(3, 2, 1)
            before = 24
            for name, c, count in zip(
                ("stage2", "stage3", "stage4"), channels[:3], (4, 8, 4), strict=True
            ):
                paper = first_block == "paper" and name == "stage2"
                blocks = [
                    Block(before if i == 0 else c, c, i == 0, paper and i == 0)
                    for i in range(count)
                ]
                setattr(self, name, tnn.Sequential(*blocks))
                before = c
            self.conv5 = tnn.Sequential(*conv(before, channels[3]), tnn.ReLU())
            self.fc = tnn.Linear(channels[3], num_classes, bias=first_block != "paper")

        def forward(self, x):
            maps = []
            x = self.maxpool(self.conv1(x))
            for stage in (self.stage2, self.stage3, self.stage4):
                x = stage(x)
                maps.append(x)
            return self.fc(self.conv5(x).mean([2, 3])), maps

    return Twin()


def randomise_statistics(model, rng):
    """Batch norms that do something: with mean 0 and variance 1 a wrong one would not show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for array, low, high in (
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
            ):
                array[...] = rng.uniform(low, high, array.shape)


@pytest.mark.parametrize(
    "width, first_block, extra_depthwise, training",
    [
        (0.5, "torchvision", False, False),
        (0.5, "torchvision", True, True),
        (1.0, "paper", False, True),
    ],
)
def test_outputs_and_gradients_equal_the_twins(width, first_block, extra_depthwise, training):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads would wait for work beside ours
    rng = np.random.default_rng(5)
    nn.manual_seed(5)
    ours = nn.models.shufflenet_v2(width, 10, first_block, extra_depthwise).double()
    randomise_statistics(ours, rng)
    twin = build_twin(torch, width, 10, first_block, extra_depthwise).double()
    state = {key: torch.from_numpy(array.copy()) for key, array in ours.state_dict().items()}
    twin.load_state_dict(state, strict=True)
    ours.train(training)
    twin.train(training)

    images = rng.standard_normal((2, 3, 33, 32))
    scores = ours(nn.Tensor(images))
    expected, maps = twin(torch.from_numpy(images))
    np.testing.assert_allclose(scores.data, expected.detach().numpy(), rtol=1e-6, atol=1e-8)

    projection = rng.standard_normal(scores.shape)
    (scores * nn.Tensor(projection)).sum().backward()
    (expected * torch.from_numpy(projection)).sum().backward()
    expected_grads = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    largest = max(np.abs(grad).max() for grad in expected_grads.values())
    for name, parameter in ours.named_parameters():
        # Some are exactly 0: a bias followed by a 1x1 convolution and a batch norm that trains.
        np.testing.assert_allclose(
            parameter.grad, expected_grads[name], rtol=1e-5, atol=1e-10 * largest, err_msg=name
        )
    if training:
        for name, buffer in twin.named_buffers():
            np.testing.assert_allclose(
                ours.state_dict()[name], buffer.numpy(), rtol=1e-6, atol=1e-9
            )
    else:
        with nn.no_grad():
            features = ours.features(nn.Tensor(images))
        for name, expected_map in zip(("c3", "c4", "c5"), maps, strict=True):
            np.testing.assert_allclose(
                features[name].data, expected_map.detach().numpy(), rtol=1e-6, atol=1e-8
            )
