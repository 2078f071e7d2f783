"""The single-stage detectors' recipes: what each changes in ``tiny`` and ``laptop``.

``ssd`` trains on photographs as ``laptop`` does, ``ssd-tiny`` on the shapes as ``tiny`` does.
Pictures, augmentation and steps are the same as there, so that the detectors can be compared:
SSD's own crops are to be had by ``--set augmentation.patches=true``.
"""

from __future__ import annotations

from detector.training.recipe import Recipe

# What is new in a network learns from nothing: batch norm in all of it lets the learning rate be
# ten times as high ("ScratchDet", Zhu et al. 2019).
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

SSDLITE = SSD | {
    "neck": SSD["neck"] | {"separable": True},
    "head": SSD["head"] | {"separable": True},
}

DSSD = SSD | {"neck": SSD["neck"] | {"joined_channels": 64, "predicted_channels": 128}}

RETINANET = {
    "backbone": "shufflenet_v2_x0_5",
    "neck": {"channels": 64, "norm": "batch"},  # a quarter of the paper's, as wide as C3
    "head": {
        "channels": 64,
        "convolutions": 2,
        "norm": "batch",
        "init": "he",
        "matcher": {"anchors_per_box": 9},
        "stds": (0.1, 0.1, 0.2, 0.2),  # makes the deltas count as much as the classes
        "beta": 1.0,
        "selector": {"score_threshold": 0.01},
    },
}

YOLO_V2 = {
    "backbone": "shufflenet_v2_x0_5",
    "neck": {"channels": 256, "fine_channels": 32},  # C5 has 192 channels, not 1024
    "head": {
        # Squares left one of 19 objects at a confidence of 0: its box did not fit yet while the
        # network learned where to be silent, and then the gradient was gone.
        "confidence": "logistic",
        "selector": {"score_threshold": 0.01},
    },
}

YOLO_V1 = {
    "backbone": "shufflenet_v2_x0_5",
    "head": {
        "channels": 192,  # as many as C5 has
        "stride": 1,  # C5 of 224 pixels has 7 x 7 cells already
        "norm": "batch",
        "hidden_channels": 512,  # the paper's would be 38 million weights
        "dropout": 0.1,
    },
}

# What each changes in a recipe.
CHANGES = {
    "ssd": {"model": SSD},
    "dssd": {"model": DSSD},
    "retinanet": {"model": RETINANET, "fit_anchors": (3, 3)},
    "ssdlite": {"model": SSDLITE},
    "yolo-v1": {"model": YOLO_V1, "fit_anchors": None},
    "yolo-v2": {
        "model": YOLO_V2,
        "fit_anchors": (5, 1),  # five clusters
        "augmentation": {"scales": (0.87, 1.0, 1.13)},  # the paper's many sizes, a batch each
    },
}


def one_stage(tiny: Recipe, laptop: Recipe) -> dict[str, Recipe]:
    """The presets of every single-stage detector, made of these two."""
    presets = {}
    for name, changes in CHANGES.items():
        for preset, like in ((name, laptop), (f"{name}-tiny", tiny)):
            image = like.model.image
            sides = {"short_side": image.short_side, "max_side": image.max_side}
            recipe = like.updated({"detector": name, "model": {"image": sides}})
            presets[preset] = recipe.updated(changes)
    return presets
