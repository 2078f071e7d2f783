"""The thin map and the head: their sizes, what they compute, hard examples, losses, gradients."""

import math

import numpy as np
import pytest

import nn
from detector.boxes import encode
from detector.heads.light_head import LightHead, LightHeadSettings
from detector.heads.region_head import HeadTargets
from detector.necks.thin_map import FusedMap, LargeSeparableConv, ThinMap, ThinMapSettings
from detector.parts.sampling import RoISampler
from nn import functional as F
from nn.models import Map

STDS = (0.1, 0.1, 0.2, 0.2)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def tiny_head(**options):
    nn.manual_seed(4)
    settings = LightHeadSettings(
        pooled_channels=2, pooled_size=3, hidden_channels=11, init="he", **options
    )
    return LightHead(3, 8, settings)


def thin_map(images=2, dtype=np.float32):
    return nn.Tensor(generator(1).normal(0, 1, (images, 18, 6, 8)).astype(dtype))


def targets():
    return [
        {"boxes": np.float32([[4, 4, 30, 30], [30, 10, 60, 40]]), "labels": np.array([2, 3])},
        {"boxes": np.float32([[0, 20, 20, 46]]), "labels": np.array([1])},
    ]


def proposals(seed=2, per_image=12):
    """Some around the objects, some anywhere."""
    rng = generator(seed)
    result = []
    for target in targets():
        near = np.repeat(target["boxes"], 3, axis=0)
        near = near + rng.normal(0, 2, near.shape)
        corners = rng.uniform(0, 30, (per_image - len(near), 2))
        far = np.concatenate([corners, corners + rng.uniform(4, 18, corners.shape)], axis=1)
        result.append(np.concatenate([near, far]).astype(np.float32))
    return result


# The thin map


@pytest.mark.parametrize(
    ("channels", "mid", "expected"),
    [
        (464, 64, 1_832_788),
        (704, 64, 2_293_588),
        (1024, 64, 2_907_988),
        (464, 256, 15 * 256 * (464 + 490) * 2 + 2 * (256 + 490)),
    ],
)
def test_size_of_the_separable_convolution(channels, mid, expected):
    assert count(LargeSeparableConv(channels, mid, 490, 15)) == expected


def slow_conv(x, layer):
    """Same-size convolution of (C, H, W), tap by tap, in float64."""
    weight, bias = layer.weight.data.astype(np.float64), layer.bias.data
    kh, kw = weight.shape[2:]
    _, H, W = x.shape
    padded = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
    out = np.zeros((len(weight), H, W)) + bias[:, None, None]
    for u in range(kh):
        for v in range(kw):
            window = padded[:, u : u + H, v : v + W]
            out += (weight[:, :, u, v, None, None] * window[None]).sum(axis=1)
    return out


def test_separable_convolution_equals_the_formula():
    conv = LargeSeparableConv(3, 2, 4, kernel_size=5, init="he")
    for parameter in conv.parameters():
        parameter.data += 0.1
    kernels = [layer.weight.shape[2:] for layer in (*conv.tall_wide, *conv.wide_tall)]
    assert kernels == [(5, 1), (1, 5), (1, 5), (5, 1)]
    x = generator().normal(0, 1, (2, 3, 6, 7)).astype(np.float32)
    out = conv(nn.Tensor(x)).data
    for n in range(2):
        branches = [slow_conv(slow_conv(x[n], a), b) for a, b in (conv.tall_wide, conv.wide_tall)]
        np.testing.assert_allclose(out[n], np.maximum(sum(branches), 0), atol=1e-5)
    assert (out == 0).any() and (out > 0).any()


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="odd"):
        LargeSeparableConv(3, 2, 4, kernel_size=4)


def test_initial_weights():
    nn.manual_seed(0)
    thesis = LargeSeparableConv(100, 32, 98, 15)
    he = LargeSeparableConv(100, 32, 98, 15, init="he")
    for branch in (thesis.tall_wide, thesis.wide_tall):
        assert branch[0].weight.data.std() == pytest.approx(0.01, rel=0.05)
    # Nothing halves the variance between the two convolutions of a branch.
    assert he.tall_wide[0].weight.data.std() == pytest.approx(1 / math.sqrt(1500), rel=0.05)
    assert he.wide_tall[1].weight.data.std() == pytest.approx(math.sqrt(2 / 480), rel=0.05)
    assert not any(layer.bias.data.any() for layer in (*he.tall_wide, *thesis.wide_tall))


MAPS = {"c4": Map(6, 16), "c5": Map(8, 32), "last": Map(9, 32)}


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize(
    ("source", "stride"), [("c4", 16), ("c5", 32), ("last", 32), ("fused", 16)]
)
def test_sources_of_the_thin_map(source, stride, norm):
    neck = ThinMap(MAPS, 5, ThinMapSettings(source, 3, 2, norm, "he"))
    maps = {
        name: nn.Tensor(generator().normal(0, 1, (2, channels, 128 // own, 64 // own)).astype("f"))
        for name, (channels, own) in MAPS.items()
    }
    assert neck.maps["thin"] == Map(5, stride)
    found = neck(maps)
    shapes = {name: Map(found[name].shape[1], 128 // found[name].shape[2]) for name in found}
    assert (
        shapes == neck.maps and set(found) == {"thin", "fused"} if source == "fused" else {"thin"}
    )
    out = found["thin"]
    assert out.shape == (2, 5, 128 // stride, 64 // stride)
    assert (out.data >= 0).all()
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in neck.modules())
    assert has_norm == (norm == "batch")


def test_fused_map_adds_the_repeated_coarse_map():
    fused = FusedMap(3, 4, "none", "he")
    fine = generator(1).normal(0, 1, (1, 3, 4, 6)).astype(np.float32)
    coarse = generator(2).normal(0, 1, (1, 4, 2, 3)).astype(np.float32)
    lateral = slow_conv(coarse[0], fused.lateral[0])
    out = fused(nn.Tensor(fine), nn.Tensor(coarse)).data[0]
    for y in range(4):
        for x in range(6):
            expected = np.maximum(fine[0, :, y, x] + lateral[:, y // 2, x // 2], 0)
            np.testing.assert_allclose(out[:, y, x], expected, atol=1e-5)


# The head


def test_size_of_the_head():
    head = LightHead(80)
    assert count(head.hidden) == 1_005_568
    assert count(head.classes) == 165_969
    assert count(head.boxes) == 8_196
    assert count(LightHead(80, 32, LightHeadSettings(class_specific_boxes=True)).boxes) == 663_876


def test_initial_head():
    nn.manual_seed(0)
    head = LightHead(80)
    for layer, std in ((head.hidden, 0.01), (head.classes, 0.01), (head.boxes, 0.001)):
        assert layer.weight.data.std() == pytest.approx(std, rel=0.05)
        assert not layer.bias.data.any()
    he = LightHead(80, 32, LightHeadSettings(init="he"))
    assert he.hidden.weight.data.std() == pytest.approx(math.sqrt(2 / 490), rel=0.05)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_forward_is_pooling_and_two_layers(mode):
    head = tiny_head(pooling_mode=mode)
    thin = thin_map()
    rois = np.float32([[0, 8, 8, 40, 40], [1, 0, 0, 62, 30], [1, 16, 0, 30, 46]])
    logits, deltas = head(thin, rois)
    pooled = F.ps_roi_align(thin, rois, 3, 1 / 8, 2, mode).data
    # Channel-major: the ten (here two) groups one after the other, rows of bins inside.
    flat = np.stack([[pooled[k, c, y, x] for c in range(2) for y in range(3) for x in range(3)]
                     for k in range(3)])  # fmt: skip
    hidden = np.maximum(flat @ head.hidden.weight.data.T + head.hidden.bias.data, 0)
    np.testing.assert_allclose(logits.data, hidden @ head.classes.weight.data.T, atol=1e-5)
    np.testing.assert_allclose(deltas.data, hidden @ head.boxes.weight.data.T, atol=1e-5)
    assert logits.shape == (3, 4) and deltas.shape == (3, 4)


def test_no_rois():
    logits, deltas = tiny_head()(thin_map(), np.zeros((0, 5), np.float32))
    assert logits.shape == (0, 4) and deltas.shape == (0, 4)
    head = tiny_head(class_specific_boxes=True)
    assert head(thin_map(), np.zeros((0, 5), np.float32))[1].shape == (0, 4, 4)


# Examples


def test_assign_labels_and_encodes():
    head = tiny_head()
    assigned = head.assign(proposals(), targets(), generator())
    assert assigned.rois.shape == (12 + 2 + 12 + 1, 5) and assigned.rois.dtype == np.float32
    for roi, label, deltas in zip(*assigned, strict=True):
        target = targets()[int(roi[0])]
        if label:
            row = target["labels"].tolist().index(label)
            expected = encode(target["boxes"][[row]], roi[None, 1:], STDS)[0]
            np.testing.assert_allclose(deltas, expected, rtol=1e-5)
        else:
            assert not deltas.any()
    assert set(assigned.labels) == {0, 1, 2, 3}


def example_losses(head, thin, assigned):
    """Class and box loss of each example by itself, in plain Python."""
    result = []
    for k in range(len(assigned.labels)):
        logits, deltas = head(thin, assigned.rois[[k]])
        label = int(assigned.labels[k])
        exponentials = [math.exp(v) for v in logits.data[0].tolist()]
        class_loss = -math.log(exponentials[label] / sum(exponentials))
        moved = deltas.data[0, label] if head.settings.class_specific_boxes else deltas.data[0]
        beta, box_loss = head.settings.beta, 0.0
        if label:
            for move, wanted in zip(moved.tolist(), assigned.deltas[k].tolist(), strict=True):
                d = abs(move - wanted)
                box_loss += 0.5 * d * d / beta if d < beta else d - 0.5 * beta
        result.append((class_loss, box_loss))
    return result


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("normalizer", ["sampled", "positive"])
def test_losses_equal_the_loop(class_specific, normalizer):
    head = tiny_head(class_specific_boxes=class_specific, box_normalizer=normalizer, beta=0.5)
    head.boxes.weight.data *= 300
    thin = thin_map()
    assigned = head.assign(proposals(), targets(), generator())
    class_losses, box_losses = zip(*example_losses(head, thin, assigned), strict=True)
    losses = head.loss(thin, assigned)
    K = len(class_losses)
    examples = K if normalizer == "sampled" else int((assigned.labels > 0).sum())
    assert losses["head_class"].item() == pytest.approx(sum(class_losses) / K, rel=1e-5)
    assert losses["head_box"].item() == pytest.approx(sum(box_losses) / examples, rel=1e-5)


def test_mining_keeps_the_hardest_of_the_whole_batch():
    head = tiny_head(hard_examples=5)
    thin = thin_map()
    assigned = head.assign(proposals(), targets(), generator())
    totals = [a + b for a, b in example_losses(head, thin, assigned)]
    order = sorted(range(len(totals)), key=lambda k: -totals[k])
    assert abs(totals[order[9]] - totals[order[10]]) > 1e-4  # no tie at the cut
    expected = sorted(order[:10])
    mined = head.mine(thin, assigned, num_images=2)
    np.testing.assert_array_equal(mined.rois, assigned.rois[expected])
    np.testing.assert_array_equal(mined.labels, assigned.labels[expected])
    np.testing.assert_array_equal(mined.deltas, assigned.deltas[expected])


def test_mining_can_be_off_or_have_nothing_to_do():
    assigned = tiny_head().assign(proposals(), targets(), generator())
    for hard_examples in (None, 14, 1000):
        head = tiny_head(hard_examples=hard_examples)
        assert head.mine(thin_map(), assigned, num_images=2) is assigned


def test_mined_examples_have_the_gradient_they_have_among_all():
    """Running the chosen ones again gives the gradient of selecting rows in one large graph."""
    head = tiny_head(hard_examples=4).double()
    assigned = head.assign(proposals(), targets(), generator())
    thin = thin_map(dtype=np.float64)
    thin.requires_grad = True

    sum(head.loss(thin, head.mine(thin, assigned, 2)).values()).backward()
    mined = [thin.grad, *(parameter.grad for parameter in head.parameters())]

    head.zero_grad()
    thin.grad = None
    class_losses, box_losses = head._losses(thin, assigned)
    losses = class_losses + box_losses
    hardest = np.argsort(-losses.data)[:8]
    (losses[hardest].sum() / 8).backward()
    selected = [thin.grad, *(parameter.grad for parameter in head.parameters())]
    for a, b in zip(mined, selected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_images_without_objects():
    head = tiny_head()
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    assigned = head.assign(proposals(), [empty, empty], generator())
    assert len(assigned.labels) == 24 and not assigned.labels.any()
    losses = head.loss(thin_map(), assigned)
    assert losses["head_box"].item() == 0
    assert losses["head_class"].item() > 0
    sum(losses.values()).backward()
    np.testing.assert_array_equal(head.boxes.weight.grad, 0)
    assert np.abs(head.classes.weight.grad).max() > 0


def test_no_examples_at_all():
    head = tiny_head()
    nothing = np.zeros((0, 4), np.float32)
    empty = {"boxes": nothing, "labels": np.zeros(0, np.int64)}
    assigned = head.assign([nothing], [empty], generator())
    assert isinstance(assigned, HeadTargets) and assigned.rois.shape == (0, 5)
    losses = head.loss(thin_map(1), head.mine(thin_map(1), assigned, 1))
    assert losses["head_class"].item() == 0 and losses["head_box"].item() == 0
    sum(losses.values()).backward()


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_gradients(mode, class_specific):
    head = tiny_head(
        pooling_mode=mode, class_specific_boxes=class_specific, sampler=RoISampler(count=16)
    ).double()
    head.boxes.weight.data *= 30
    assigned = head.assign(proposals(), targets(), generator())
    thin = thin_map(dtype=np.float64)
    thin.requires_grad = True
    nn.gradcheck(
        lambda *_: head.loss(thin, assigned).values(), [thin, *head.parameters()], atol=1e-8
    )


def test_gradients_of_the_thin_map():
    nn.manual_seed(0)
    thin = ThinMap(MAPS, 5, ThinMapSettings("fused", 3, 2, "batch", "he")).double()
    maps = {
        name: nn.Tensor(
            generator().normal(0, 1, (2, MAPS[name].channels, *size)), requires_grad=True
        )
        for name, size in (("c4", (4, 6)), ("c5", (2, 3)))
    }
    # The bias before a batch norm has no effect, and this layer has none.
    assert thin.conv.tall_wide[1].bias is None
    nn.gradcheck(lambda *_: thin(maps)["thin"], [*maps.values(), *thin.parameters()], atol=1e-7)
