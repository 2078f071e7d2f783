"""The single-stage detectors' recipes: what each changes in ``tiny`` and ``laptop``.

``ssd`` trains on photographs as ``laptop`` does, ``ssd-tiny`` on the shapes as ``tiny`` does.
Pictures, augmentation and steps are the same as there, so that the detectors can be compared.
"""

from __future__ import annotations

from detector.training.recipe import Recipe

# In the same backbone as the light head's, from scratch or nearly: batch norm, trained, in all that
# is new lets the learning rate be ten times as high ("ScratchDet", Zhu et al. 2019).
SSD = {
    "backbone": "shufflenet_v2_x0_5",
    "neck": {
        "strides": (8, 16, 32),
        "channels": (128,),
        "unpadded": 0,
        "l2_scale": 0.0,  # batch norm has made the maps alike
        "norm": "batch",
    },
    "head": {
        "mining": {"least": 9},  # a picture without objects teaches something too
        "matcher": {"anchors_per_box": 9},  # small objects get more than the one that fits best
        "selector": {"max_detections": 100},
    },
}

MODELS = {"ssd": SSD}


def one_stage(tiny: Recipe, laptop: Recipe) -> dict[str, Recipe]:
    """The presets of every single-stage detector, made of these two."""
    presets = {}
    for name, model in MODELS.items():
        for preset, like in ((name, laptop), (f"{name}-tiny", tiny)):
            image = {
                key: value for key, value in like.model.image.as_dict().items() if "side" in key
            }
            presets[preset] = like.updated({"detector": name, "model": {**model, "image": image}})
    return presets
