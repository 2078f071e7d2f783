"""Bytes to planes: the kernel, its twin and the formula."""

import numpy as np
import pytest

from nn.kernels.machine.jit import twins
from nn.kernels.normalize_image import normalize_image


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (5, 33), (40, 7)])
def test_normalize_image(size, dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    scale, shift = rng.uniform(0.01, 0.1, 3).astype(dtype), rng.standard_normal(3).astype(dtype)
    out = np.full((3, size[0] + 2, size[1] + 3), 7, dtype)
    normalize_image(image, scale, shift, out)
    for c in range(3):
        for y in range(size[0]):
            for x in range(size[1]):
                expected = float(image[y, x, c]) * scale[c] + shift[c]
                assert out[c, y, x] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert (out[:, size[0] :] == 7).all() and (out[:, :, size[1] :] == 7).all()
    with twins():
        again = np.full_like(out, 7)
        normalize_image(image, scale, shift, again)
    np.testing.assert_allclose(again, out, rtol=1e-5, atol=1e-6)
