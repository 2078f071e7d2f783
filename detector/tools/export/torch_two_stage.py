"""A two-stage detector in PyTorch, all but its network: from a photograph to boxes.

This file is the middle part of what ``lighthead export --to torch`` writes, word for word; so it
imports nothing of ours. Functions are called as here: ``TwoStageDetector.detect`` step by step.
Boxes are (R, 4), corners x1, y1, x2, y2 in pixels.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

MAX_LOG_SCALE = math.log(1000 / 16)
SIZE_MULTIPLE = 32


class Detector(nn.Module):
    """
    Args:
        network: from a batch (1, 3, H, W) to objectness (1, M), deltas (1, M, 4) and the thin map;
            has the head's layers besides.
        settings: its numbers, by name.
    """

    def __init__(self, network: nn.Module, settings: dict):
        super().__init__()
        self.network, self.settings = network, settings

    @torch.no_grad()
    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """(H, W, 3) uint8 RGB of any size -> boxes (R, 4) in its pixels, scores (R,), labels."""
        size = network_size(image.shape[:2], self.settings)
        batch = picture(image, size, self.settings).to(next(self.parameters()).device)
        boxes, scores, labels = self(batch, size)
        scale = boxes.new_tensor([image.shape[1] / size[1], image.shape[0] / size[0]] * 2)
        found = {"boxes": boxes * scale, "scores": scores, "labels": labels}
        return {name: each.cpu().numpy() for name, each in found.items()}

    def forward(self, batch: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
        """What ``predict`` does with a picture that fills ``size`` (h, w) of a batch of one."""
        objectness, deltas, thin = self.network(batch)
        boxes, logits = self.propose(objectness[0], deltas[0], batch.shape[2:], size)
        probabilities, deltas = self.look(thin, boxes, logits)
        return self.select(probabilities, deltas, boxes, size)

    def propose(self, objectness, deltas, batch_size, size):
        """First stage: the best anchors (K, 4), moved, without doubles; their logits (K,)."""
        settings = self.settings
        stride = settings["anchor_stride"]
        grid = anchors(settings["anchors"], stride, *(side // stride for side in batch_size))
        logits, best = objectness.sort(descending=True, stable=True)
        logits, best = logits[: settings["pre_nms"]], best[: settings["pre_nms"]]
        boxes = decode(deltas[best], grid.to(deltas)[best], (1, 1, 1, 1))
        boxes = clip(boxes, size)
        large = longer_than(boxes, settings["min_size"])
        boxes, logits = boxes[large], logits[large]
        kept = nms(boxes, logits, settings["proposal_iou"], settings["post_nms"])
        return boxes[kept], logits[kept]

    def look(self, thin, boxes, logits):
        """Second stage: probabilities (K, 1 + C), background first; deltas (K, 1 + C, 4)."""
        settings, layer = self.settings, self.network.get_submodule
        pooled = ps_roi_align(
            thin, boxes / settings["head_stride"], settings["pooled_size"],
            settings["sampling_ratio"], settings["pooling_mode"],
        )  # fmt: skip
        hidden = F.relu(layer("head.hidden")(pooled))
        probabilities = layer("head.classes")(hidden).softmax(1)
        share = settings["objectness_share"]
        probabilities = probabilities ** (1 - share) * torch.sigmoid(logits)[:, None] ** share
        deltas = layer("head.boxes")(hidden).reshape(len(boxes), -1, 4)
        return probabilities, deltas.expand(-1, probabilities.shape[1], -1)

    def select(self, probabilities, deltas, proposals, size):
        """Boxes, scores, labels of what scores enough, without doubles of a class, best first."""
        settings, found = self.settings, []
        most = settings["max_detections"]
        for label in range(1, probabilities.shape[1]):
            boxes = clip(decode(deltas[:, label], proposals, settings["stds"]), size)
            scores = probabilities[:, label]
            enough = longer_than(boxes, 0) & (scores > settings["score_threshold"])
            boxes, scores = boxes[enough], scores[enough]
            kept = nms(boxes, scores, settings["detection_iou"], most)
            found.append((boxes[kept], scores[kept], torch.full_like(kept, label)))
        boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        best = scores.argsort(descending=True, stable=True)[:most]
        return boxes[best], scores[best], labels[best]


def network_size(size, settings):
    """The (h, w) at which a picture of ``size`` is looked at: the shorter side becomes short_side,
    unless the longer one would exceed max_side."""
    scale = min(settings["short_side"] / min(size), settings["max_side"] / max(size))
    return tuple(max(1, min(round(side * scale), settings["max_side"])) for side in size)


def picture(image, size, settings):
    """(H, W, 3) uint8 -> a batch (1, 3, h, w), normalised, h and w multiples of 32."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).float() / 255
    pixels = (pixels - torch.tensor(settings["mean"])) / torch.tensor(settings["std"])
    missing = (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE)
    return F.pad(pixels.permute(2, 0, 1)[None], missing)


def anchors(shapes, stride, rows, columns):
    """One box of each of the ``shapes`` (width, height) around the middle of every cell."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    centres = (torch.stack([x, y], dim=2)[:, :, None] + 0.5) * stride
    half = torch.tensor(shapes) / 2
    return torch.cat([centres - half, centres + half], dim=3).reshape(-1, 4)


def decode(deltas, boxes, stds):
    """``boxes`` moved by dx, dy (in widths and heights) and made e^dw, e^dh times as large."""
    deltas = deltas * deltas.new_tensor(stds)
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + deltas[:, :2] * sides
    half = sides * deltas[:, 2:].clamp(max=MAX_LOG_SCALE).exp() / 2
    return torch.cat([centres - half, centres + half], dim=1)


def clip(boxes, size):
    height, width = size
    return boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))


def longer_than(boxes, least):
    """Whether both sides of each box are longer, (R,) bool."""
    return (boxes[:, 2:] - boxes[:, :2] > least).all(dim=1)


def nms(boxes, scores, iou_threshold, limit):
    """Keep the best box, drop what overlaps it by more, and so on: indices, best first."""
    order = scores.argsort(descending=True, stable=True)
    first, last = boxes[order].split(2, dim=1)
    areas = (last - first).prod(dim=1)
    alive, kept = torch.ones_like(order, dtype=torch.bool), []
    for i in range(len(order)):
        if alive[i] and len(kept) < limit:
            kept.append(i)
            sides = last.minimum(last[i]) - first.maximum(first[i])
            common = sides.clamp(min=0).prod(dim=1)
            alive &= common <= iou_threshold * (areas + areas[i] - common)
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]


def ps_roi_align(maps, boxes, bins, samples, mode):
    """Position-sensitive RoI align: (1, C bins bins, H, W) and (K, 4) -> (K, C bins bins).

    Each bin of a box looks at C channels of its own, at samples x samples points. So the bins
    become the images of a batch, and one call takes the points of all boxes out of each.
    """
    height, width = maps.shape[2:]
    places = (torch.arange(bins * samples, device=maps.device) + 0.5) / (bins * samples)
    x, y = (
        boxes[:, axis, None] + (boxes[:, axis + 2] - boxes[:, axis])[:, None] * places
        for axis in (0, 1)
    )
    # grid_sample counts from -1 to 1 across the map, and a whole number here is a pixel's middle.
    x, y = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    points = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=3)
    points = points.reshape(-1, bins, samples, bins, samples, 2).permute(1, 3, 0, 2, 4, 5)
    points = points.reshape(bins * bins, -1, samples * samples, 2)
    maps = maps.reshape(-1, bins * bins, height, width).transpose(0, 1)
    values = F.grid_sample(maps, points, padding_mode="border", align_corners=False)
    values = values.mean(dim=3) if mode == "avg" else values.amax(dim=3)
    return values.permute(2, 1, 0).reshape(len(boxes), -1)
