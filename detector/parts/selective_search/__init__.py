"""Selective search: where objects might be, without having learned anything.

Uijlings et al., Selective Search for Object Recognition, 2013: what R-CNN and Fast R-CNN look at
(Girshick et al. 2014, section 2.1). The image is cut into pieces of one colour
(``segmentation``), the most similar neighbours are joined until one is left (``grouping``), and the
box of every piece on the way is proposed. No one way of joining suits all objects, so it is done
several ways: these are the paper's "fast" mode as R-CNN uses it.
"""

from __future__ import annotations

import copy

import numpy as np
from PIL import Image

from detector.parts.selective_search.colours import hsv, lab
from detector.parts.selective_search.grouping import (
    COLOUR,
    FILL,
    SIZE,
    TEXTURE,
    group,
    regions_of,
    slopes,
)
from detector.parts.selective_search.segmentation import PixelGraph, smooth

LONG_SIDE = 500  # pixels, to which every image is resized: the scales below mean something then
SIGMA = 0.8
SCALES = (50, 100)  # of the segmentation, and the fewest pixels of a piece
MIXES = ((COLOUR, TEXTURE, SIZE, FILL), (TEXTURE, SIZE, FILL))


def selective_search(
    image: np.ndarray, limit: int = 2000, min_side: float = 20.0, seed: int = 0
) -> np.ndarray:
    """Boxes that may hold an object, (R, 4) float32 in pixels of the image; the best places first.

    The large boxes of the last joins come first, in an order mixed by random numbers: the place of
    the i-th box from the end of a grouping is i times a number from 0 to 1 (paper, section 4.4).

    Args:
        image: (H, W, 3) uint8 RGB.
        limit: how many boxes to return at most.
        min_side: boxes with a shorter side, on the image of 500 pixels, are left out.
        seed: of the order.
    """
    height, width = image.shape[:2]
    size = [max(round(side * LONG_SIDE / max(width, height)), 1) for side in (width, height)]
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    rng = np.random.default_rng(seed)
    boxes, places = [], []
    for colours in (hsv(small), lab(small)):
        graph, steepness = PixelGraph(smooth(colours, SIGMA)), slopes(colours)
        for scale in SCALES:
            regions = regions_of(colours, steepness, graph.pieces(scale, scale))
            for mix in MIXES:
                found = group(copy.deepcopy(regions), mix)
                boxes.append(found)
                places.append(rng.random(len(found)) * np.arange(1, len(found) + 1))
    boxes = np.concatenate(boxes)[np.argsort(np.concatenate(places), kind="stable")]
    boxes = boxes[np.sort(np.unique(boxes, axis=0, return_index=True)[1])]
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= min_side][:limit]
    return (boxes * np.tile([width / size[0], height / size[1]], 2)).astype(np.float32)
