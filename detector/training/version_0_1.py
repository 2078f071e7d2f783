"""What version 0.1 wrote, as today's: its recipes and detectors were flat lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detector.detectors.flat_options import nested
from detector.detectors.light_head_rcnn import MID_CHANNELS, LightHeadRCNNSettings

KIND = "lighthead detector"
CROPS = {f"crop_{name}": name for name in ("iterations", "size", "batch", "lr")}
CHANCE = ("horizontal_flip", "vertical_flip", "colour_jitter")
STEPS = (
    *("batch", "epochs", "least_iterations", "lr_per_image", "momentum", "weight_decay"),
    *("backbone_lr_scale", "warmup", "schedule", "milestones", "clip_norm", "evaluate_every"),
)


def checkpoint(tree: Any) -> Any:
    """The tree of a checkpoint; one of today comes back as it is."""
    if not isinstance(tree, dict) or tree.get("kind") != KIND:
        return tree
    about = tree.get("detector")
    if isinstance(about, dict) and isinstance(about.get("config"), dict):
        about = {**about, "detector": "light-head-rcnn", "config": _config(about["config"])}
    more = {name: part for name, part in tree.items() if name != "detector"}
    return {**more, "kind": "lighthead", "task": "detection", "about": about}


def _config(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a detector, with those that are new since."""
    flat = {name: value for name, value in flat.items() if name != "setting"}  # its number is there
    num_classes = flat.pop("num_classes", None)
    return {"num_classes": num_classes, **LightHeadRCNNSettings.of(nested(flat)).as_dict()}


def session(values: Any) -> Any:
    """The ``config.json`` of a run; one of today comes back as it is."""
    if not (isinstance(values, dict) and isinstance(values.get("recipe"), dict)):
        return values
    if "backbone" not in values["recipe"]:
        return values
    return {**values, "recipe": recipe(values["recipe"])}


def recipe(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe."""
    flat = dict(flat)
    sides = flat.pop("short_sides", [800])
    side = sorted(sides)[len(sides) // 2]  # the one of detection
    model = {
        "backbone": flat.pop("backbone"),
        "short_side": side,
        "max_side": flat.pop("max_side", 1200),
        "separable_channels": MID_CHANNELS[flat.pop("setting", "S")],
        **flat.pop("model", {}),
    }
    new = {
        "detector": "light-head-rcnn",
        "model": nested(model),
        "frozen_parts": flat.pop("frozen_stages", 0),
        "augmentation": {"scales": [each / side for each in sides]},
        "crops": {},
        "steps": {},
    }
    for name, value in flat.items():
        if name in CHANCE:
            new["augmentation"][name] = value
        elif name in CROPS:
            new["crops"][CROPS[name]] = value
        elif name in STEPS:
            new["steps"][name] = value
        else:
            new[name] = value
    return new
