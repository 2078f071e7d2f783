"""From the bytes of a photograph to the planes a network reads.

    out[c, y, x] = image[y, x, c] * scale[c] + shift[c]

``image`` (H, W, 3) uint8; ``out`` (3, OH, OW), at least as large: what lies beyond the image is
left as it is. One pass over memory: 3 ms become 1 ms for 800 x 1200 pixels.
"""

from __future__ import annotations

from numba import prange

from nn.kernels.machine.jit import kernel


def normalize_image_reference(image, scale, shift, out):
    H, W = image.shape[:2]
    normal = image.transpose(2, 0, 1) * scale[:, None, None] + shift[:, None, None]
    out[:, :H, :W] = normal


@kernel(twin=normalize_image_reference)
def normalize_image(image, scale, shift, out):
    H, W, C = image.shape
    for y in prange(H):
        for c in range(C):
            row = out[c, y]
            for x in range(W):
                row[x] = image[y, x, c] * scale[c] + shift[c]
