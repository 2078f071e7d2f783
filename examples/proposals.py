"""From R-CNN to Faster R-CNN: who proposes the boxes, and how often is the network run?

    python examples/proposals.py --weights RUN --data DIR
        [--splits val train --limit 20 --out FILE.png]

RUN is a trained two-stage detector of this library, DIR the data that it was trained on. Prints how
many objects each kind of proposal covers, what a picture takes, and what one linear classifier says
about the objects by the features of both steps:

- R-CNN (Girshick et al. 2014): selective search proposes; every box is cut out, brought to one size
  and run through the network.
- Fast R-CNN (Girshick 2015): the same boxes, but the network runs once, and each box is pooled from
  the map that all share.
- Faster R-CNN (Ren et al. 2015): the network proposes the boxes itself.
"""

import argparse
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import nn
from detector.boxes import box_iou
from detector.datasets import open_dataset
from detector.detectors.two_stage import TwoStageDetector
from detector.errors import UserError
from detector.parts.preprocess import network_size, resize, scale_boxes
from detector.parts.proposals import ProposalSelector
from detector.parts.selective_search import selective_search
from detector.training.loading import load_detector
from nn import functional as F
from nn.models import map_of_stride

STRIDE, BINS, BATCH = 16, 7, 50
SIDE = STRIDE * BINS  # pixels of a cut-out box, so that its map has as many cells as a pooled one
COUNTS = (1, 3, 10, 30, 100, 300, 1000, 2000)


def shared_map(model, image):
    """What the backbone makes of a picture, and the size it was brought to."""
    size = network_size(image.shape[:2], model.image.short_side, model.image.max_side)
    name = map_of_stride(model.backbone.maps, STRIDE)
    return model.backbone.features(model.to_tensor([resize(image, size)]))[name], size


def fast_r_cnn(model, image, boxes):
    """(R, C): the network once, then the mean over each box's bins."""
    features, size = shared_map(model, image)
    rois = np.pad(scale_boxes(boxes, image.shape[:2], size), ((0, 0), (1, 0)))
    return F.roi_align(features, rois, BINS, 1 / STRIDE, 2, aligned=True).mean((2, 3)).data


def r_cnn(model, image, boxes):
    """(R, C): the network once a box."""
    whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1).astype(int)
    crops = [resize(image[y1:y2, x1:x2], (SIDE, SIDE)) for x1, y1, x2, y2 in whole]
    name, found = map_of_stride(model.backbone.maps, STRIDE), []
    for first in range(0, len(crops), BATCH):
        maps = model.backbone.features(model.to_tensor(crops[first : first + BATCH]))
        found.append(maps[name].mean((2, 3)).data)
    return np.concatenate(found)


def region_proposals(model, image):
    """(300, 4): the boxes in which the network itself expects objects, best first."""
    size = network_size(image.shape[:2], model.image.short_side, model.image.max_side)
    maps = model(model.to_tensor([resize(image, size)]))
    select = ProposalSelector(6000, 300)
    boxes, _ = select(maps.objectness.data[0], maps.deltas.data[0], maps.anchors, size)
    return scale_boxes(boxes, size, image.shape[:2])


def recall(proposals, truths, count):
    """The share of the objects that one of the first proposals covers with an IoU of 0.5."""
    pairs = [(t, p[:count]) for t, p in zip(truths, proposals, strict=True) if len(t)]
    return np.mean(np.concatenate([box_iou(*pair).max(axis=1) for pair in pairs]) >= 0.5)


def samples(pictures, searched):
    """(image, boxes, labels) of each picture: its objects and as many boxes, label 0, without."""
    for (image, target), boxes in zip(pictures, searched, strict=True):
        empty = boxes[box_iou(target["boxes"], boxes).max(axis=0, initial=0) < 0.3]
        empty = empty[: len(target["boxes"])]
        both = np.concatenate([target["boxes"], empty])
        yield image, both, np.pad(target["labels"], (0, len(empty)))


def accuracy(step, model, learned, held_out):
    """Of a linear classifier: trained on the features of some pictures, asked about others."""
    with nn.no_grad():
        (x, labels), (asked, answers) = (
            [np.concatenate(part) for part in zip(
                *((step(model, image, boxes), own) for image, boxes, own in each), strict=True)]
            for each in (learned, held_out)
        )  # fmt: skip
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    nn.manual_seed(0)
    head = nn.Linear(x.shape[1], model.num_classes + 1)
    optimizer = nn.optim.MomentumSGD(head.parameters(), lr=0.1, weight_decay=1e-3)
    for _ in range(300):
        head.zero_grad()
        F.cross_entropy(head(nn.Tensor((x - mean) / deviation)), labels).backward()
        optimizer.step()
    return np.mean(head(nn.Tensor((asked - mean) / deviation)).data.argmax(1) == answers)


def timed(function, *args):
    """What a function returns, and the seconds of all processor cores that it took."""
    start = time.process_time()
    return function(*args), time.process_time() - start


def main(args):
    detector = load_detector(args.weights)
    model = detector.model
    if not isinstance(model, TwoStageDetector):
        raise UserError(f"{args.weights}: it proposes no regions; train one of two stages")
    held_out, learned = (
        [dataset.load(index) for index in range(len(dataset))]
        for dataset in (
            open_dataset(args.data, each, detector.classes, args.limit) for each in args.splits
        )
    )
    truths = [target["boxes"] for _, target in held_out]
    with nn.no_grad():
        image = held_out[0][0]
        for step in (r_cnn, fast_r_cnn):  # what is not compiled yet is not to be timed
            step(model, image, selective_search(image, 2))
        region_proposals(model, image)
        searched = [timed(selective_search, image) for image, _ in held_out]
        proposed = [timed(region_proposals, model, image) for image, _ in held_out]
        boxes = searched[0][0]
        seconds = [timed(step, model, image, boxes)[1] for step in (r_cnn, fast_r_cnn)]
    print(f"{len(held_out)} pictures, {sum(map(len, truths))} objects; covered by the first boxes:")
    for name, results in (("selective search", searched), ("region proposals", proposed)):
        found = [boxes for boxes, _ in results]
        curve = [recall(found, truths, count) for count in COUNTS]
        plt.plot(COUNTS, curve, marker="o", label=name)
        numbers = ", ".join(f"{c}: {r:.2f}" for c, r in zip(COUNTS, curve, strict=True))
        print(f"  {name}  {numbers}; {np.median([s for _, s in results]):.2f} s a picture")
    print(f"features of {len(boxes)} boxes: {seconds[0]:.2f} s, each box cut out (R-CNN)")
    print(f"features of {len(boxes)} boxes: {seconds[1]:.2f} s, from the shared map (Fast R-CNN)")
    found = [boxes for boxes, _ in searched]
    examples = [selective_search(image) for image, _ in learned]
    sets = list(samples(learned, examples)), list(samples(held_out, found))
    print(f"a linear classifier of {len(learned)} pictures' objects and background is right in")
    for name, step in (("R-CNN", r_cnn), ("Fast R-CNN", fast_r_cnn)):
        print(f"  {accuracy(step, model, *sets):.2f} of the others', by the features of {name}")
    plt.xscale("log")
    plt.xlabel("boxes a picture"), plt.ylabel("objects covered (IoU 0.5)"), plt.ylim(0, 1)
    plt.legend(), plt.grid(alpha=0.3), plt.savefig(args.out, dpi=100)
    print(f"the curves: {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True, help="a run folder or a checkpoint")
    parser.add_argument("--data", required=True, help="as for lighthead train")
    parser.add_argument("--splits", nargs=2, default=("val", "train"), metavar=("VAL", "TRAIN"))
    parser.add_argument("--limit", type=int, default=20, help="pictures of each split")
    parser.add_argument("--out", default="proposals.png", help="where the curves go")
    try:
        main(parser.parse_args())
    except UserError as error:
        parser.error(str(error))
