"""A compiled detector finds what the model finds."""

import numpy as np
import pytest

import nn
from detector import CompiledDetector, LightHeadRCNN
from detector.detectors.compiled import MOST_SIZES


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
    for field in ("objectness", "deltas", "thin"):
        tensor, other = getattr(expected, field).data, getattr(actual, field).data
        np.testing.assert_allclose(other, tensor, rtol=1e-3, atol=1e-4, err_msg=field)
    np.testing.assert_array_equal(actual.anchors, expected.anchors)


def test_the_detections_are_the_models():
    plain = model()
    images = [picture(100, 150), picture(60, 40, 1), picture(200, 900, 2), picture(100, 150, 3)]
    compiled = CompiledDetector(plain)
    for expected, actual in zip(plain.predict(images), compiled.predict(images), strict=True):
        assert len(expected["scores"]) > 5
        # Equal up to rounding, which may exchange neighbours of equal score: compare the best.
        np.testing.assert_allclose(actual["scores"][:5], expected["scores"][:5], rtol=1e-3)
        np.testing.assert_array_equal(actual["labels"][:5], expected["labels"][:5])
        np.testing.assert_allclose(actual["boxes"][:5], expected["boxes"][:5], rtol=1e-3, atol=0.05)


def test_what_was_found_does_not_depend_on_what_was_seen_before():
    compiled = CompiledDetector(model())
    (first,) = compiled.predict([picture(100, 150)])
    sizes = [(100, 60 + 40 * k) for k in range(MOST_SIZES + 2)]
    compiled.predict([picture(*size, 7) for size in sizes])
    (again,) = compiled.predict([picture(100, 150)])
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


def test_training_on_does_not_change_it():
    plain = model()
    compiled = CompiledDetector(plain)
    (before,) = compiled.predict([picture(100, 150)])
    for parameter in plain.parameters():
        parameter.data += 1
    (after,) = compiled.predict([picture(150, 100), picture(100, 150)])[1:]
    np.testing.assert_array_equal(before["boxes"], after["boxes"])


def test_no_image_and_bad_images():
    compiled = CompiledDetector(model())
    assert compiled.predict([]) == []
    with pytest.raises(ValueError, match="uint8"):
        compiled.predict([np.zeros((5, 5, 3), np.float32)])
