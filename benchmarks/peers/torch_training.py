"""A training step of the S detector in PyTorch: the thesis's targets, sampling, mining and losses.

The sampled anchors come from the same NumPy generator as ours, so the losses are comparable.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.peers.torch_boxes import box_iou, encode
from benchmarks.peers.torch_detector import LightHeadRCNN


def losses(model: LightHeadRCNN, images, targets, layout) -> list[torch.Tensor]:
    """Objectness, anchor boxes, classes, boxes: the four losses of a batch of equal-sized images.

    ``targets``: of each image, boxes (G, 4) and labels (G,) as tensors.
    """
    rng = np.random.Generator(np.random.Philox(0))
    size = images[0].shape[:2]
    batch = model.to_batch(images, layout)
    objectness, deltas, thin = model.maps(batch)
    anchors = model.anchors(batch)
    with torch.no_grad():
        sampled = [assign_anchors(model.config, anchors, truth, size, rng) for truth, _ in targets]
        rois = [
            assign_rois(
                model.propose(scores, moves, anchors, size, "train"), *target, model.box_stds
            )
            for scores, moves, target in zip(objectness, deltas, targets, strict=True)
        ]
        number = [torch.full((len(r), 1), float(n)) for n, (r, _, _) in enumerate(rois)]
        regions, labels, wanted = (torch.cat(parts) for parts in zip(*rois, strict=True))
        regions = torch.cat([torch.cat(number), regions], 1)
        keep = model.config["head"]["hard_examples"] * len(images)
        if len(labels) > keep:
            class_loss, box_loss = head_losses(model, thin, regions, labels, wanted)
            hardest = (class_loss + box_loss).topk(keep).indices
            regions, labels, wanted = regions[hardest], labels[hardest], wanted[hardest]
    class_loss, box_loss = head_losses(model, thin, regions, labels, wanted)
    return [
        *rpn_losses(model.config, objectness, deltas, sampled),
        class_loss.mean(),
        box_loss.sum() / len(labels),
    ]


def assign_anchors(config, anchors, truth, size, rng):
    """Positive and negative anchors of one image, and the positive ones' deltas."""
    inside = (anchors[:, :2] >= 0).all(1)
    inside &= (anchors[:, 2:] <= torch.tensor([size[1], size[0]])).all(1)
    usable = inside.nonzero()[:, 0]
    iou = box_iou(truth, anchors[usable])
    overlap, matched = iou.max(0)
    best = (iou == iou.max(1, keepdim=True).values) & (iou > 0)
    is_positive = (overlap >= config["rpn"]["matcher"]["positive_iou"]) | best.any(0)
    is_negative = (overlap < config["rpn"]["matcher"]["negative_iou"]) & ~is_positive
    wanted = torch.where(best.any(0), torch.where(best, iou, 0).argmax(0), matched)
    most = int(config["rpn"]["sampler"]["count"] * config["rpn"]["sampler"]["positive_fraction"])
    positive = choose(is_positive, most, rng)
    negative = choose(is_negative, config["rpn"]["sampler"]["count"] - len(positive), rng)
    goal = encode(truth[wanted[positive]], anchors[usable[positive]], torch.ones(4))
    return usable[positive], usable[negative], goal


def choose(mask, count, rng):
    indices = mask.nonzero()[:, 0]
    if len(indices) <= count:
        return indices
    return torch.from_numpy(np.sort(rng.choice(indices.numpy(), count, replace=False)))


def rpn_losses(config, objectness, deltas, sampled):
    """Cross-entropy and smooth L1, both divided by the number of sampled anchors."""
    logits, wanted, moved, goals = [], [], [], []
    for scores, moves, (positive, negative, goal) in zip(objectness, deltas, sampled, strict=True):
        logits += [scores[positive], scores[negative]]
        wanted += [torch.ones(len(positive)), torch.zeros(len(negative))]
        moved.append(moves[positive])
        goals.append(goal)
    logits, wanted = torch.cat(logits), torch.cat(wanted)
    box = F.smooth_l1_loss(
        torch.cat(moved), torch.cat(goals), reduction="sum", beta=config["rpn"]["beta"]
    )
    return F.binary_cross_entropy_with_logits(logits, wanted), box / len(logits)


def assign_rois(proposals, truth, labels, stds):
    """All proposals and the ground truth as examples: regions, labels, deltas."""
    candidates = torch.cat([proposals, truth])
    overlap, matched = box_iou(candidates, truth).max(1)
    found = overlap >= 0.5
    wanted = torch.where(found, labels[matched], 0)
    deltas = torch.where(found[:, None], encode(truth[matched], candidates, stds), 0.0)
    return candidates, wanted, deltas


def head_losses(model, thin, regions, labels, wanted):
    """Class loss and box loss of each example."""
    logits, deltas = model.head(model.pool(thin, regions))
    box = F.smooth_l1_loss(deltas, wanted, reduction="none", beta=model.config["head"]["beta"])
    return F.cross_entropy(logits, labels, reduction="none"), box.sum(1) * (labels > 0)
