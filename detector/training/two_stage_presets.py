"""The other two-stage detectors' recipes: what each changes in ``tiny`` and ``laptop``.

``faster-rcnn`` trains on photographs as ``laptop`` does, ``faster-rcnn-tiny`` on the shapes as
``tiny`` does. Pictures, augmentation, steps, region proposals and examples are the same as there,
so that the heads can be compared.
"""

from __future__ import annotations

from typing import Any

from detector.training.recipe import Recipe

# Maps of stride 8 .. 64, as wide as the narrowest that they are made of: 64 channels, not 256.
PYRAMID = {
    "fpn": {"finest": 8, "channels": 64, "norm": "batch"},
    "rpn": {"source": "backbone", "channels": 64},
    "head": {"hidden_channels": 256, "class_specific_boxes": False},
}

# 28 x 28 cells cost as much as detection itself with two convolutions of 32 channels.
MASK = {"mask": {"convolutions": 2, "channels": 32, "sampling_ratio": 2}}

# What each changes in both. A pyramid's four maps share out four sizes of anchors.
CHANGES: dict[str, dict[str, Any]] = {
    "faster-rcnn": {"model": PYRAMID, "fit_anchors": (4, 3)},
    # The last stage costs far more for a region than any other head, and so it sees a fourth of the
    # cells: 7 x 7, of which 4 x 4 are left.
    "faster-rcnn-c4": {
        "model": {
            "rpn": {"source": "backbone"},
            "head": {"pooled_size": 7, "class_specific_boxes": False},
        },
    },
    "cascade-rcnn": {"model": PYRAMID, "fit_anchors": (4, 3)},
    "mask-rcnn": {"model": {**PYRAMID, **MASK}, "fit_anchors": (4, 3)},
    "r-fcn": {"model": {"score_maps": {"source": "fused", "channels": 256, "norm": "batch"}}},
}
# And where the pictures are small.
TINY: dict[str, dict[str, Any]] = {
    # Objects of 24 to 80 pixels belong to the maps of stride 8 and 16.
    "faster-rcnn": {"model": {"head": {"canonical_side": 56.0}}},
    "cascade-rcnn": {"model": {"head": {"canonical_side": 56.0}}},
    "mask-rcnn": {
        "model": {"head": {"canonical_side": 56.0}, "mask": {"canonical_side": 56.0}},
    },
    # A shape covers 2 to 5 cells: there is no more to see in 7 x 7 bins than in 3 x 3.
    "r-fcn": {"model": {"head": {"pooled_size": 3}}},
    "faster-rcnn-c4": {},
}


def two_stage(tiny: Recipe, laptop: Recipe) -> dict[str, Recipe]:
    """The presets of every two-stage detector but the light head's, made of these two."""
    presets = {}
    for name, changes in CHANGES.items():
        for preset, like in ((name, laptop), (f"{name}-tiny", tiny)):
            model, head = like.model, like.model.head
            shared = {
                "backbone": model.backbone,
                "image": model.image,
                "rpn": model.rpn,
                "head": {
                    "sampler": head.sampler,
                    "hard_examples": head.hard_examples,
                    "objectness_share": head.objectness_share,
                    "selector": head.selector,
                },
            }
            recipe = like.updated({"detector": name, "model": shared}).updated(changes)
            presets[preset] = recipe.updated(TINY[name]) if like is tiny else recipe
    return presets
