"""A Light-Head R-CNN of your own, put together from the files beside this one and from ``nn``.

The parts are the answers of the chapters' exercises; this file says in which order they work, as
``detector/detectors/two_stage.py`` does for the library's parts. The layers have the library's
names, so the weights of the one fit the other.
"""

import numpy as np

import nn
from mine.decode import decode
from mine.encode import encode
from mine.init import he_std
from mine.iou import box_iou
from mine.match import match
from mine.mining import hardest_of_each
from mine.nms import nms
from mine.pool import ps_roi_align
from mine.select import select
from mine.shuffle import shuffle_backward
from mine.smooth_l1 import smooth_l1_gradient
from mine.softplus import softplus_backward
from mine.turn import turn
from nn import functional as F
from nn.ops.operation import Operation
from nn.tensor import apply

STRIDE, BINS, STDS, BETA = 16, 7, (0.1, 0.1, 0.2, 0.2), 1 / 9
PROPOSALS, HARD = 48, 24  # of a picture


class Shuffle(Operation):
    """Chapter 06: the channels of two groups by turns."""

    def forward(self, x):
        N, C, H, W = x.shape
        return x.reshape(N, 2, C // 2, H, W).swapaxes(1, 2).reshape(x.shape)

    def backward(self, grad):
        return shuffle_backward(grad, 2)


class Convolution(Operation):
    """Chapter 03: stride 1; both gradients are convolutions, too."""

    def forward(self, x, weight, *, padding):
        self.x, self.weight, self.padding = x, weight, padding
        return convolve(x, weight, padding)

    def backward(self, grad):
        back = tuple(k - 1 - p for k, p in zip(self.weight.shape[2:], self.padding, strict=True))
        grad_weight = convolve(self.x.swapaxes(0, 1), grad.swapaxes(0, 1), self.padding)
        return convolve(grad, turn(self.weight), back), grad_weight.swapaxes(0, 1)


def convolve(x, weight, padding):
    x, weight = (nn.Tensor(np.ascontiguousarray(each)) for each in (x, weight))
    return F.conv2d(x, weight, padding=padding).data


class Softplus(Operation):
    """Chapter 01: ln(1 + e^x)."""

    def forward(self, x):
        self.x = x
        return np.logaddexp(x, 0).astype(x.dtype)

    def backward(self, grad):
        return softplus_backward(grad, self.x)


class SmoothL1(Operation):
    """Chapter 09: a parabola up to beta, a straight line from there on."""

    def forward(self, d, *, beta):
        self.d, self.beta = d, beta
        return np.where(abs(d) < beta, d * d / (2 * beta), abs(d) - beta / 2).astype(d.dtype)

    def backward(self, grad):
        return grad * smooth_l1_gradient(self.d, self.beta).astype(grad.dtype)


class Conv2d(nn.Conv2d):
    """A layer of the library's with a convolution of yours."""

    def __init__(self, in_channels, out_channels, size, std=None, bias=True):
        super().__init__(in_channels, out_channels, size, padding=[k // 2 for k in size], bias=bias)
        nn.init.normal_(self.weight, 0, he_std(self.weight.shape) if std is None else std)
        if bias:
            nn.init.zeros_(self.bias)

    def forward(self, x):
        y = apply(Convolution, x, self.weight, padding=self.padding)
        return y if self.bias is None else y + self.bias.reshape(1, -1, 1, 1)


class Backbone(nn.Module):
    """Chapter 06: ShuffleNet v2 of width 0.5, up to the map of stride 16."""

    def __init__(self):
        super().__init__()
        whole = nn.models.shufflenet_v2(0.5, num_classes=None)
        self.conv1, self.maxpool = whole.conv1, whole.maxpool
        self.stage2, self.stage3 = whole.stage2, whole.stage3

    def forward(self, images):
        x = self.maxpool(self.conv1(images))
        for block in (*self.stage2, *self.stage3):
            half = x.shape[1] // 2
            left, right = (x, x) if block.stride == 2 else (x[:, :half], x[:, half:])
            x = apply(Shuffle, F.cat((block.branch1(left), block.branch2(right)), dim=1))
        return x


class ThinMap(nn.Module):
    """Chapter 11: tall and wide, wide and tall, and one ReLU on the sum."""

    def __init__(self, channels, middle, out, k=7):
        super().__init__()
        tall, wide = (k, 1), (1, k)
        for name, first, second in (("tall_wide", tall, wide), ("wide_tall", wide, tall)):
            last = Conv2d(middle, out, second, bias=False)
            setattr(self, name, nn.Sequential(Conv2d(channels, middle, first), last))
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x):
        return F.relu(self.norm(self.tall_wide(x) + self.wide_tall(x)))


class Proposer(nn.Module):
    """Chapter 09: for each anchor of each cell, is it an object, and where exactly?"""

    def __init__(self, channels, anchors, hidden=128):
        super().__init__()
        first = Conv2d(channels, hidden, (3, 3), bias=False)
        self.conv = nn.Sequential(first, nn.BatchNorm2d(hidden), nn.ReLU())
        self.objectness = Conv2d(hidden, anchors, (1, 1), std=0.01)
        self.deltas = Conv2d(hidden, 4 * anchors, (1, 1), std=0.01)

    def forward(self, x):
        hidden = self.conv(x)
        logits, deltas = self.objectness(hidden), self.deltas(hidden)
        deltas = deltas.permute(0, 2, 3, 1).reshape(len(x), -1, 4)
        return logits.permute(0, 2, 3, 1).reshape(len(x), -1), deltas


class Head(nn.Module):
    """Chapter 11: what is in a region, and where exactly."""

    def __init__(self, channels, classes, hidden=512):
        super().__init__()
        self.hidden = nn.Linear(channels, hidden)
        self.classes, self.boxes = nn.Linear(hidden, classes), nn.Linear(hidden, 4)
        deviations = {self.hidden: he_std(self.hidden.weight.shape + (1, 1)), self.classes: 0.01,
                      self.boxes: 0.001}  # fmt: skip
        for layer, std in deviations.items():
            nn.init.normal_(layer.weight, 0, std)
            nn.init.zeros_(layer.bias)

    def forward(self, thin, rois):
        pooled = ps_roi_align(thin, rois, BINS, 1 / STRIDE)
        hidden = F.relu(self.hidden(pooled.reshape(len(rois), -1)))
        return self.classes(hidden), self.boxes(hidden)


class Detector(nn.Module):
    """
    Args:
        classes: how many, without the background.
        shapes: (A, 2) widths and heights of the anchors, in pixels.
    """

    def __init__(self, classes, shapes):
        super().__init__()
        self.shapes = np.asarray(shapes)
        self.backbone = Backbone()
        self.rpn = Proposer(96, len(shapes))
        self.thin_map = nn.Sequential({"conv": ThinMap(96, 64, 10 * BINS**2)})
        self.head = Head(10 * BINS**2, 1 + classes)

    def forward(self, images):
        """(N, H, W, 3) uint8 -> objectness (N, M), deltas (N, M, 4), thin map, anchors (M, 4)."""
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
        values = (np.float32(images) / 255 - np.float32(mean)) / np.float32(std)
        x = self.backbone(nn.Tensor(np.ascontiguousarray(values.transpose(0, 3, 1, 2))))
        return *self.rpn(x), self.thin_map(x), self.anchors(*x.shape[2:])

    def anchors(self, H, W):
        """Chapter 08: all shapes on every cell."""
        y, x = np.mgrid[:H, :W] * STRIDE + STRIDE / 2
        centres, half = np.stack([x, y], axis=2)[:, :, None], self.shapes / 2
        boxes = np.concatenate([centres - half, centres + half], axis=3)  # (H, W, A, 4)
        return boxes.reshape(-1, 4).astype(np.float32)

    def propose(self, logits, deltas, anchors, size, limit=PROPOSALS):
        """The best boxes of a picture of (h, w) = size, (R, 4), after suppression."""
        best = np.argsort(-logits, kind="stable")[:200]
        boxes = inside(decode(deltas[best], anchors[best], (1, 1, 1, 1)), size)
        whole = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, scores = boxes[whole], logits[best][whole]
        return boxes[nms(boxes, scores, 0.7)[:limit]]

    def loss(self, images, targets, rng):
        """Four losses by name. images (N, H, W, 3), sides multiples of 32; targets with boxes
        (G, 4) and labels (G,), from 1 on; rng picks the anchors."""
        logits, deltas, thin, anchors = self(images)
        size, N = images.shape[1:3], len(images)
        chosen, is_object, wanted, rois, labels, moves = [], [], [], [], [], []
        for n, target in enumerate(targets):
            picked, positive, ways = anchor_targets(anchors, target["boxes"], size, rng)
            chosen.append(picked + n * len(anchors))
            is_object.append(positive)
            wanted.append(ways)
        for n, target in enumerate(targets):
            proposals = self.propose(logits.data[n], deltas.data[n], anchors, size)
            boxes, names, ways = roi_targets(proposals, target)
            rois.append(np.pad(boxes, ((0, 0), (1, 0)), constant_values=n))
            labels.append(names)
            moves.append(ways)
        chosen, is_object, wanted = map(np.concatenate, (chosen, is_object, wanted))
        rois, labels, moves = map(np.concatenate, (rois, labels, moves))
        if len(labels) > HARD * N:
            with nn.no_grad():
                hard = sum(self.head_losses(thin, rois, labels, moves)).data
            hard = hardest_of_each(hard, np.zeros(len(hard), int), HARD * N)  # of all pictures
            rois, labels, moves = rois[hard], labels[hard], moves[hard]
        x = logits.reshape(-1)[chosen]
        off = deltas.reshape(-1, 4)[chosen[is_object]] - nn.Tensor(wanted.astype(np.float32))
        class_loss, box_loss = self.head_losses(thin, rois, labels, moves)
        return {
            "rpn_objectness": (apply(Softplus, x) - x * nn.Tensor(np.float32(is_object))).mean(),
            "rpn_box": apply(SmoothL1, off, beta=BETA).sum() / len(chosen),
            "head_class": class_loss.mean(),
            "head_box": box_loss.mean(),
        }

    def head_losses(self, thin, rois, labels, moves):
        """Two losses of each region, (K,)."""
        logits, deltas = self.head(thin, rois.astype(np.float32))
        box_loss = apply(SmoothL1, deltas - nn.Tensor(np.float32(moves)), beta=1.0).sum(1)
        is_object = nn.Tensor(np.float32(labels > 0))
        return F.cross_entropy(logits, labels, reduction="none"), box_loss * is_object

    def predict(self, images):
        """What is in each picture (H, W, 3), sides multiples of 32: boxes, scores, labels."""
        found = []
        with nn.evaluating(self), nn.no_grad():
            for image in images:
                size = image.shape[:2]
                logits, deltas, thin, anchors = self(image[None])
                boxes = self.propose(logits.data[0], deltas.data[0], anchors, size, 100)
                logits, deltas = self.head(thin, np.float32(np.pad(boxes, ((0, 0), (1, 0)))))
                boxes = inside(decode(deltas.data, boxes, STDS), size)
                found.append(select(F.softmax(logits, 1).data, boxes, 0.01, 0.5, 100))
        return found


def inside(boxes, size):
    """The part of each box inside a picture."""
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2)).astype(np.float32)


def anchor_targets(anchors, truth, size, rng):
    """Chapter 09: 256 anchors at most, half of them objects: numbers, which are, their deltas."""
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    usable = np.flatnonzero(((centres >= 0) & (centres <= size[::-1])).all(axis=1))
    labels, matched = match(box_iou(anchors[usable], truth), 0.7, 0.3)
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    positive = some(positive, 128, rng)
    negative = some(negative, 256 - len(positive), rng)
    picked = np.concatenate([usable[positive], usable[negative]])
    deltas = encode(truth[matched[positive]], anchors[usable[positive]], (1, 1, 1, 1))
    return picked, np.arange(len(picked)) < len(positive), deltas


def some(numbers, count, rng):
    """At most so many of them, at random, in ascending order."""
    if len(numbers) <= count:
        return numbers
    return np.sort(rng.choice(numbers, count, replace=False))


def roi_targets(proposals, target):
    """Chapter 11: proposals and objects as examples for the head: boxes, labels, their deltas."""
    truth = target["boxes"]
    boxes = np.concatenate([proposals, truth])
    overlap = box_iou(boxes, truth)
    matched = overlap.argmax(axis=1) if len(truth) else np.zeros(len(boxes), int)
    is_object = overlap.max(axis=1, initial=0) >= 0.5
    labels, deltas = np.zeros(len(boxes), int), np.zeros((len(boxes), 4))
    labels[is_object] = target["labels"][matched[is_object]]
    deltas[is_object] = encode(truth[matched[is_object]], boxes[is_object], STDS)
    return boxes, labels, deltas
