"""The S detector as one would write it in PyTorch; takes the state_dict of ``LightHeadRCNN``."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.peers import torch_boxes as boxes
from benchmarks.peers.torch_shufflenet import ShuffleNetV2

BIN = 7  # bins down and across of a region


class RegionProposalNetwork(nn.Module):
    def __init__(self, in_channels: int, channels: int, anchors: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1))
        self.objectness = nn.Conv2d(channels, 2 * anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * anchors, 1)

    def forward(self, x):
        hidden = self.conv(x).relu_()
        scores = self.objectness(hidden).permute(0, 2, 3, 1).reshape(len(x), -1, 2)
        deltas = self.deltas(hidden).permute(0, 2, 3, 1).reshape(len(x), -1, 4)
        return scores[:, :, 1] - scores[:, :, 0], deltas


class LargeSeparableConv(nn.Module):
    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, k: int):
        super().__init__()

        def branch(first, second):
            return nn.Sequential(
                nn.Conv2d(in_channels, mid_channels, first, padding=(first[0] // 2, first[1] // 2)),
                nn.Conv2d(
                    mid_channels, out_channels, second, padding=(second[0] // 2, second[1] // 2)
                ),
            )

        self.tall_wide = branch((k, 1), (1, k))
        self.wide_tall = branch((1, k), (k, 1))

    def forward(self, x):
        return (self.tall_wide(x) + self.wide_tall(x)).relu_()


class ThinMap(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.conv = LargeSeparableConv(*sizes)

    def forward(self, x):
        return self.conv(x)


class Head(nn.Module):
    def __init__(self, in_features: int, hidden: int, num_classes: int):
        super().__init__()
        self.hidden = nn.Linear(in_features, hidden)
        self.classes = nn.Linear(hidden, 1 + num_classes)
        self.boxes = nn.Linear(hidden, 4)

    def forward(self, pooled):
        hidden = self.hidden(pooled).relu_()
        return self.classes(hidden), self.boxes(hidden)


class LightHeadRCNN(nn.Module):
    """
    Args:
        channels: of the backbone, see ``ShuffleNetV2``.
        config: of the detector that it is the twin of.
    """

    def __init__(self, channels, config: dict):
        super().__init__()
        anchors = len(config["rpn"]["anchors"]["sizes"]) * len(config["rpn"]["anchors"]["ratios"])
        pooled = config["head"]["pooled_channels"] * BIN**2
        self.backbone = ShuffleNetV2(channels, None)
        self.rpn = RegionProposalNetwork(channels[2], config["rpn"]["channels"], anchors)
        self.thin_map = ThinMap(
            channels[3],
            config["thin_map"]["mid_channels"],
            pooled,
            config["thin_map"]["kernel_size"],
        )
        self.head = Head(pooled, config["head"]["hidden_channels"], config["num_classes"])
        self.config = config
        std = torch.tensor(config["image"]["std"], dtype=torch.float64)
        self.scale = (1 / (255 * std)).float()[:, None, None]
        self.shift = (-torch.tensor(config["image"]["mean"]).double() / std).float()[:, None, None]
        self.box_stds = torch.tensor(config["head"]["stds"])
        self.grids = {}

    def maps(self, batch):
        """Normalised images -> objectness (N, M), deltas (N, M, 4), thin map."""
        stage3, stage4 = self.backbone(batch)
        return *self.rpn(stage3), self.thin_map(stage4)

    def forward(self, batch, pooled):
        """The network part: ``maps``, and the head on features (K, 490) that are given."""
        return *self.maps(batch), *self.head(pooled)

    def to_batch(self, images: list[np.ndarray], layout) -> torch.Tensor:
        """(H, W, 3) uint8, all of one size -> normalised, padded to multiples of 32."""
        H, W = images[0].shape[:2]
        batch = torch.zeros(len(images), 3, -(-H // 32) * 32, -(-W // 32) * 32)
        batch = batch.contiguous(memory_format=layout)
        for place, image in zip(batch, images, strict=True):
            pixels = torch.from_numpy(image).permute(2, 0, 1)
            torch.add(self.shift, pixels * self.scale, out=place[:, :H, :W])
        return batch

    def anchors(self, batch) -> torch.Tensor:
        """All anchors (M, 4) for a batch of this size, made once."""
        H, W = batch.shape[2] // 16, batch.shape[3] // 16
        if (H, W) not in self.grids:
            sizes, ratios = (
                self.config["rpn"]["anchors"]["sizes"],
                self.config["rpn"]["anchors"]["ratios"],
            )
            self.grids[H, W] = boxes.anchor_grid(sizes, ratios, 16, H, W)
        return self.grids[H, W]

    def propose(self, objectness, deltas, anchors, image_size, phase: str) -> torch.Tensor:
        """Proposals (R, 4) of one image, best first; ``phase`` is "train" or "test"."""
        count = min(self.config["rpn"][f"{phase}_selector"]["pre_nms"], len(objectness))
        top = objectness.topk(count).indices
        found = boxes.decode(deltas[top], anchors[top], image_size)
        found = found[boxes.has_area(found)]
        limit = self.config["rpn"][f"{phase}_selector"]["post_nms"]
        return found[boxes.nms(found, self.config["rpn"]["train_selector"]["iou_threshold"], limit)]

    def pool(self, thin, rois) -> torch.Tensor:
        """Regions (K, 5) -> (K, 490)."""
        return boxes.ps_roi_align(thin, rois, BIN, 1 / 32).flatten(1)

    @torch.inference_mode()
    def predict(self, images: list[np.ndarray], layout) -> list[tuple]:
        """Boxes, scores and labels of each image, which has the network's size already."""
        return [self.detect(image, layout) for image in images]

    def detect(self, image: np.ndarray, layout):
        size = image.shape[:2]
        batch = self.to_batch([image], layout)
        objectness, deltas, thin = self.maps(batch)
        anchors = self.anchors(batch)
        proposals = self.propose(objectness[0], deltas[0], anchors, size, "test")
        rois = torch.cat([torch.zeros(len(proposals), 1), proposals], 1)
        logits, deltas = self.head(self.pool(thin, rois))
        return self.select(logits.softmax(1), deltas, proposals, size)

    def select(self, probabilities, deltas, proposals, image_size):
        """The best detections: boxes are decoded once and shared by the classes."""
        found = boxes.decode(deltas * self.box_stds, proposals, image_size)
        scores = probabilities[:, 1:] * boxes.has_area(found)[:, None]
        rows, labels = (scores > self.config["head"]["selector"]["score_threshold"]).nonzero(
            as_tuple=True
        )
        scores, order = scores[rows, labels].sort(descending=True, stable=True)
        rows, labels = rows[order], labels[order]
        candidates = found[rows]
        limit = self.config["head"]["selector"]["max_detections"]
        kept = boxes.nms(
            candidates, self.config["head"]["selector"]["iou_threshold"], limit, labels
        )
        return candidates[kept], scores[kept], labels[kept] + 1
