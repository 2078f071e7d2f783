"""Light-Head R-CNN on ShuffleNet v2: the detector of the thesis, made from names and numbers.

The parts are in their own files, how they work together is in ``two_stage``; this one only builds
them from a ``DetectorConfig``.
"""

from __future__ import annotations

from collections.abc import Sequence

from detector.detectors.backbone import ShuffleNetFeatures
from detector.detectors.config import DetectorConfig
from detector.detectors.two_stage import TwoStageDetector
from detector.heads.light_head import LightHead
from detector.heads.rpn import RegionProposalNetwork
from detector.necks.thin_map import ThinMap
from detector.parts.anchors import AnchorGenerator
from detector.parts.matching import AnchorMatcher
from detector.parts.proposals import ProposalSelector
from detector.parts.sampling import AnchorSampler, RoISampler
from detector.parts.selection import DetectionSelector


class LightHeadRCNN(TwoStageDetector):
    """
    Args:
        num_classes: without background.
        backbone: "shufflenet_v2_x0_5", "_x1_0", "_x1_5" or "_x2_0"; see ``backbone.BACKBONES``.
        setting: "S" (C_mid 64) or "L" (C_mid 256).
        **options: any field of ``DetectorConfig``.

    ``loss(images, targets)`` and ``predict(images)`` are documented in ``TwoStageDetector``.

    Raises:
        ValueError: there is no such backbone, setting or option; suggests the nearest.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "shufflenet_v2_x1_0",
        setting: str = "S",
        **options,
    ):
        if num_classes < 1:
            raise ValueError(f"a detector needs at least one class, not {num_classes}")
        config = DetectorConfig.of(setting, **options)
        features = ShuffleNetFeatures(backbone, with_conv5=config.thin_map_from == "conv5")
        thin_map = build_thin_map(features, config)
        super().__init__(
            features,
            build_rpn(features, config),
            thin_map,
            build_head(num_classes, thin_map.stride, config),
            DetectionSelector(
                config.score_threshold,
                config.detection_nms,
                config.max_detections,
                config.box_stds,
            ),
            num_classes,
            short_side=config.short_side,
            max_side=config.max_side,
            image_mean=config.image_mean,
            image_std=config.image_std,
            loss_weights={
                "rpn_objectness": config.rpn_objectness_weight,
                "rpn_box": config.rpn_box_weight,
                "head_class": config.head_class_weight,
                "head_box": config.head_box_weight,
            },
        )
        self._arguments = {
            "num_classes": num_classes,
            "backbone": backbone,
            "setting": setting,
            **config.as_dict(),
        }

    def config(self) -> dict:
        """All constructor arguments: ``LightHeadRCNN(**model.config())`` is the same detector.

        Plain Python values, fit for JSON.
        """
        return dict(self._arguments)

    def set_preprocessing(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise images the way the weights that were loaded into the backbone want it."""
        self.image_mean, self.image_std = tuple(mean), tuple(std)
        self._arguments |= {"image_mean": self.image_mean, "image_std": self.image_std}

    def freeze(self, stem: bool = True, stage2: bool = False, batch_norm: bool = True) -> None:
        """Keep parts of a pretrained backbone as they are.

        Args:
            stem: the first convolution and its batch norm (the thesis).
            stage2: everything up to stage 2.
            batch_norm: the statistics, weights and biases of all batch norms of the backbone
                (the thesis: a detector's batches are too small for good statistics).
        """
        self.backbone.freeze(stem, stage2, batch_norm)


def build_rpn(features: ShuffleNetFeatures, config: DetectorConfig) -> RegionProposalNetwork:
    """The region proposal network on stage 3."""

    def selector(pre_nms, post_nms):
        return ProposalSelector(pre_nms, post_nms, config.proposal_nms, config.proposal_min_size)

    return RegionProposalNetwork(
        features.out_channels["stage3"],
        AnchorGenerator(
            config.anchor_sizes,
            config.anchor_ratios,
            features.strides["stage3"],
            config.anchor_shapes,
        ),
        channels=config.rpn_channels,
        norm=config.rpn_norm,
        init=config.init,
        outputs=config.rpn_outputs,
        prior=config.rpn_prior,
        matcher=AnchorMatcher(
            config.rpn_positive_iou,
            config.rpn_negative_iou,
            config.rpn_anchors_per_box,
            config.rpn_extra_iou,
            config.rpn_inside_only,
        ),
        sampler=AnchorSampler(config.rpn_samples, config.rpn_positive_fraction),
        train_selector=selector(config.pre_nms_train, config.post_nms_train),
        test_selector=selector(config.pre_nms_test, config.post_nms_test),
        balance=config.rpn_balance,
        beta=config.rpn_beta,
        box_normalizer=config.box_normalizer,
    )


def build_thin_map(features: ShuffleNetFeatures, config: DetectorConfig) -> ThinMap:
    """The thin map from whichever stages the configuration names."""
    return ThinMap(
        config.thin_map_from,
        features.out_channels,
        features.strides,
        config.separable_channels,
        config.pooled_channels * config.pooled_size**2,
        config.separable_kernel,
        config.thin_map_norm,
        config.init,
    )


def build_head(num_classes: int, stride: int, config: DetectorConfig) -> LightHead:
    """The head for a thin map of ``stride``."""
    return LightHead(
        num_classes,
        stride,
        pooled_channels=config.pooled_channels,
        pooled_size=config.pooled_size,
        hidden_channels=config.head_channels,
        pooling_mode=config.pooling_mode,
        sampling_ratio=config.sampling_ratio,
        class_specific_boxes=config.class_specific_boxes,
        stds=config.box_stds,
        sampler=RoISampler(
            config.roi_foreground_iou,
            config.roi_background_iou,
            config.roi_samples,
            config.roi_foreground_fraction,
        ),
        hard_examples=config.hard_examples,
        init=config.init,
        beta=config.head_beta,
        box_normalizer=config.box_normalizer,
    )
