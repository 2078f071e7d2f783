"""A recipe: every number of a detector's training, each beside the part it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from detector.datasets.crops import CropLessons
from detector.datasets.transforms import Augmentation, TrainTransform
from detector.detectors import DETECTORS
from detector.detectors.detector import DetectorSettings
from detector.detectors.light_head_rcnn import LightHeadRCNNSettings
from detector.settings import Count, Positive, Range, Settings
from detector.training.steps import Steps

AnchorCount = Annotated[int, Range(1, 64)]


@dataclass(frozen=True)
class Recipe(Settings):
    """
    Attributes:
        detector: a name in ``DETECTORS``.
        model: the detector's settings.
        fit_anchors: (sizes, ratios): that many anchor sizes and shapes fitted to the boxes of the
            training images; None for the anchors of ``model``.
        fit_side: (least, median): the shorter side of the pictures shrinks until the median object
            measures ``median`` pixels, the root of its area, but not below ``least``; None leaves
            it.
        frozen_parts: how many parts of the backbone stay as loaded: 1 the stem, 2 also what
            follows, and so on.
        frozen_batch_norm: whether the backbone's batch norm keeps to the statistics it was loaded
            with. Without loaded weights there is nothing to keep and both are ignored.
        augmentation: what happens to training pictures.
        crops: lessons before detection, only without loaded weights.
        steps: how it steps.
    """

    # What the command line has an option of its own for, and where it is.
    options: ClassVar[Mapping[str, str]] = {
        "backbone": "model.backbone",
        "epochs": "steps.epochs",
        "batch": "steps.batch",
        "lr": "steps.lr",
        "short_side": "model.image.short_side",
        "crop_iterations": "crops.iterations",
        "evaluate_every": "steps.evaluate_every",
    }

    detector: str = LightHeadRCNNSettings.detector
    model: DetectorSettings = LightHeadRCNNSettings()
    fit_anchors: tuple[AnchorCount, AnchorCount] | None = None
    fit_side: tuple[Count, Positive] | None = None
    frozen_parts: Annotated[int, Range(0, 1000)] = 0
    frozen_batch_norm: bool = False
    augmentation: Augmentation = Augmentation()
    crops: CropLessons = CropLessons()
    steps: Steps = Steps()

    def updated(self, values: Mapping[str, Any]) -> Recipe:
        """See ``Settings``. Another detector brings its own defaults."""
        name = values.get("detector", self.detector)
        if name == self.detector:
            return super().updated(values)
        if name not in DETECTORS:
            raise ValueError(DETECTORS.complaint(name))
        other = replace(self, detector=name, model=DETECTORS[name].Settings())
        return Settings.updated(other, values)

    def changed(self, path: str, value: Any) -> Recipe:
        """See ``Settings``; a path may begin inside the detector: ``rpn.matcher.positive_iou``."""
        head = path.partition(".")[0]
        if path == "detector":
            return self.updated({path: value})
        if head not in [entry.name for entry in fields(self)]:
            return replace(self, model=self.model.changed(path, value))
        return super().changed(path, value)

    def resized(self, short_side: int) -> Recipe:
        """A copy for pictures of another size: both sides change by the same factor."""
        if short_side < 32:
            raise ValueError(f"the short side must be at least 32 pixels, not {short_side}")
        image = self.model.image
        factor = short_side / image.short_side
        resized = self.changed("image.short_side", short_side).changed(
            "image.max_side", round(image.max_side * factor)
        )
        return replace(resized, fit_side=None)

    def fitted_to(self, widths_heights: np.ndarray) -> Recipe:
        """A copy whose pictures are as large as ``fit_side`` says.

        Args:
            widths_heights: (R, 2) of the boxes, in pixels at the size of ``model.image``.
        """
        areas = widths_heights.prod(axis=1)
        if self.fit_side is None or not (areas > 0).any():
            return replace(self, fit_side=None)
        least, median = self.fit_side
        side = self.model.image.short_side
        wanted = side * median / np.median(np.sqrt(areas[areas > 0]))
        return self.resized(int(np.clip(32 * round(wanted / 32), min(least, side), side)))

    def transform(self) -> TrainTransform:
        """What happens to a picture on its way into training."""
        image = self.model.image
        return TrainTransform(image.short_side, image.max_side, self.augmentation)
