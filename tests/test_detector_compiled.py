"""Every way to build Light-Head R-CNN computes the same maps when compiled."""

import numpy as np
import pytest

import nn
from detector import CompiledDetector, LightHeadRCNN


def model(**options) -> LightHeadRCNN:
    """A small detector whose untrained outputs are far enough apart for a stable order."""
    nn.manual_seed(0)
    small = {"short_side": 96, "max_side": 160, "init": "he", "head_channels": 64}
    built = LightHeadRCNN(3, "shufflenet_v2_x0_5", **(small | options))
    rng = np.random.default_rng(0)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean[:] = 0.1 * rng.standard_normal(module.num_features)
            module.running_var[:] = rng.uniform(0.5, 2, module.num_features)
    for output in (built.rpn.objectness, built.rpn.deltas, built.head.classes, built.head.boxes):
        output.weight.data[:] = 0.1 * rng.standard_normal(output.weight.shape)
    return built


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


OPTIONS = {
    "thesis": {},
    "laptop": {"rpn_norm": "batch", "thin_map_norm": "batch", "rpn_outputs": 1},
    "tiny": {"thin_map_from": "fused", "separable_kernel": 7, "thin_map_norm": "batch"},
    "conv5": {"thin_map_from": "conv5", "class_specific_boxes": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_maps_are_the_models(name):
    plain = model(**OPTIONS[name])
    batch = plain.to_tensor([picture(90, 150), picture(64, 64, 1)])
    with nn.no_grad():
        expected = plain.eval()(batch)
        actual = CompiledDetector(plain).network(batch)
    for field in ("objectness", "deltas", "features"):
        tensor, other = getattr(expected, field).data, getattr(actual, field).data
        np.testing.assert_allclose(other, tensor, rtol=1e-3, atol=1e-4, err_msg=field)
    np.testing.assert_array_equal(actual.anchors, expected.anchors)
