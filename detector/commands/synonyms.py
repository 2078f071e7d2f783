"""The names that people bring from other programs, and what each is called here.

From Ultralytics' YOLO, YOLOv5, torchvision's references, Detectron2 and MMDetection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from nn.table import did_you_mean

COMMANDS = {
    "val": "evaluate",
    "validate": "evaluate",
    "eval": "evaluate",
    "test": "evaluate",
    "predict": "detect",
    "infer": "detect",
    "inference": "detect",
    "fit": "train",
    "finetune": "train",
    "check": "check-data",
    "dataset": "check-data",
    "info": "summary",
    "benchmark": "bench",
}

# Option -> what it is called here: the first of these that the command has, else the first.
OPTIONS: dict[str, tuple[str, ...]] = {
    # what to start from, what to use
    "--weights": ("--init-from",),
    "--weights-backbone": ("--init-from",),
    "--pretrained": ("--init-from",),
    "--load-from": ("--init-from",),
    "--model": ("--weights", "--backbone"),
    "--checkpoint": ("--weights", "--init-from"),
    "--ckpt": ("--weights", "--init-from"),
    "--resume-from": ("--resume",),
    "--arch": ("--backbone",),
    "--network": ("--backbone",),
    "--freeze": ("--set frozen_parts=...",),
    # where every number is
    "--cfg": ("--like", "--preset"),
    "--config": ("--like", "--preset"),
    "--config-file": ("--like", "--preset"),
    "--cfg-options": ("--set",),
    "--opts": ("--set",),
    "--hyp": ("--set",),
    # sizes
    "--imgsz": ("--short-side",),
    "--img": ("--short-side",),
    "--img-size": ("--short-side",),
    "--image-size": ("--short-side",),
    "--input-size": ("--short-side",),
    "--resolution": ("--short-side",),
    "--batch-size": ("--batch",),
    "--samples-per-gpu": ("--batch",),
    "--ims-per-batch": ("--batch",),
    # how long, how fast
    "--num-epochs": ("--epochs",),
    "--max-epochs": ("--epochs",),
    "--max-iter": ("--set steps.most_iterations=...",),
    "--time": ("--minutes",),
    "--early-stopping": ("--patience",),
    "--learning-rate": ("--lr",),
    "--lr0": ("--lr",),
    "--base-lr": ("--lr",),
    "--lr-scheduler": ("--set steps.schedule=...",),
    "--cos-lr": ("--set steps.schedule=cosine",),
    "--lr-steps": ("--set steps.milestones=...",),
    "--momentum": ("--set steps.momentum=...",),
    "--weight-decay": ("--set steps.weight_decay=...",),
    "--wd": ("--set steps.weight_decay=...",),
    "--warmup-epochs": ("--set steps.warmup=...",),
    "--warmup-iters": ("--set steps.warmup=...",),
    "--clip-grad": ("--set steps.clip_norm=...",),
    "--grad-clip": ("--set steps.clip_norm=...",),
    "--val-interval": ("--evaluate-every",),
    "--eval-interval": ("--evaluate-every",),
    "--random-seed": ("--seed",),
    # how pictures are changed
    "--fliplr": ("--set augmentation.horizontal_flip=...",),
    "--flipud": ("--set augmentation.vertical_flip=...",),
    "--scale": ("--set augmentation.zoom=...",),
    "--hsv-v": ("--set augmentation.colour_jitter=...",),
    # what counts as found
    "--conf": ("--score",),
    "--conf-thres": ("--score",),
    "--confidence": ("--score",),
    "--score-thr": ("--score",),
    "--threshold": ("--score",),
    "--iou": ("--set head.selector.iou_threshold=...",),
    "--iou-thres": ("--set head.selector.iou_threshold=...",),
    "--max-det": ("--set head.selector.max_detections=...",),
    # where things are, and go
    "--project": ("--out",),
    "--name": ("--out",),
    "--save-dir": ("--out",),
    "--output": ("--out",),
    "--output-dir": ("--out",),
    "--work-dir": ("--out",),
    "--save-json": ("--json",),
    "--save-crop": ("--crops",),
    "--save-txt": ("--labels yolo",),
    "--dataset": ("--data",),
    "--dataset-dir": ("--data",),
    "--data-path": ("--data",),
    "--data-dir": ("--data",),
    "--coco-path": ("--data",),
    "--annotations": ("--data",),
    "--train-split": ("--train",),
    "--val-split": ("--val",),
    "--fraction": ("--limit",),
    # what computes
    "--workers": ("--threads",),
    "--num-workers": ("--threads",),
    "--device": ("--threads",),
    "--gpus": ("--threads",),
    "--num-gpus": ("--threads",),
    "--gpu-ids": ("--threads",),
}

# Which command has an option that ``train`` does not have.
HOMES = dict.fromkeys(("--weights", "--score", "--json", "--crops", "--labels"), "detect")

# Option -> why there is none.
NOT_HERE = {
    "--source": "pictures and folders are named without one, as in lighthead detect photo.jpg",
    "--input": "pictures and folders are named without one, as in lighthead detect photo.jpg",
    "--optimizer": "it is SGD with momentum; --set steps.momentum=... changes it",
    "--half": "everything computes in float32",
    "--fp16": "everything computes in float32",
    "--amp": "everything computes in float32",
    "--nc": "the classes are those of the data; --classes chooses among them",
    "--num-classes": "the classes are those of the data; --classes chooses among them",
    "--single-cls": "the classes are those of the data; --classes chooses among them",
    "--lrf": "the learning rate falls to 0; --set steps.schedule=steps is another way",
    "--mosaic": "pictures are zoomed, flipped and coloured; --set augmentation.zoom=... says how",
    "--mixup": "pictures are zoomed, flipped and coloured; --set augmentation.zoom=... says how",
    "--cache": "decoded pictures are kept in memory as far as they fit",
    "--rect": "pictures always keep their shape",
    "--deterministic": "the same --seed always gives the same bits",
    "--save-period": "the last checkpoint is written twice a minute, the best when there is one",
    "--exist-ok": "the folder of a run is never written over; --resume goes on with it",
    "--test-only": "the command evaluate measures a trained detector",
    "--eval-only": "the command evaluate measures a trained detector",
    "--launcher": "one process trains a detector; see the command multitask for several",
    "--dist-url": "one process trains a detector; see the command multitask for several",
    "--world-size": "one process trains a detector; see the command multitask for several",
    "--sync-bn": "one process trains a detector; see the command multitask for several",
    "--num-machines": "one process trains a detector; see the command multitask for several",
}


def command_for(word: str) -> str:
    """What to add to the complaint that there is no such command; "" if nothing is known."""
    return f"; here it is called {COMMANDS[word]}" if word in COMMANDS else ""


def unknown_option(arguments: Sequence[str], known: Iterable[str]) -> str:
    """A complaint about the first option that a command does not have; "" if it has them all.

    Args:
        known: the options of the command; the beginning of one is enough if no other begins so.
    """
    known = list(known)
    for before, word in zip(("", *arguments), arguments, strict=False):
        if word == "--":
            return ""
        option, equals, value = word.partition("=")
        is_value = before.startswith("--") or os.path.exists(word)
        if equals and not word.startswith("-") and not is_value:
            if why := without_dashes(option, value, known):
                return why
        if not option.startswith("--") or option in known:
            continue
        if sum(name.startswith(option) for name in known) == 1:
            continue
        return f"there is no {option}{answer(option, known)}"
    return ""


def without_dashes(name: str, value: str, known: list[str]) -> str:
    """The complaint about ``name=value``, which Ultralytics' programs take for an option; "" if it
    is none of ours or theirs, a file's name perhaps."""
    option = dashed(f"--{name}")
    if option in known:
        return f"options begin with two dashes here: {option} {value}"
    if option in OPTIONS or option in NOT_HERE:
        return f"there is no {name}={answer(option, known)}"
    return ""


def answer(option: str, known: list[str]) -> str:
    """How the complaint that there is no such option goes on."""
    option = dashed(option)
    if option in NOT_HERE:
        return f": {NOT_HERE[option]}"
    if option in known:  # but for an underscore
        return f": here it is called {option}"
    if option not in OPTIONS:
        return did_you_mean(option, known)
    for ours in OPTIONS[option]:
        if ours.partition(" ")[0] in known:
            return f": here it is called {ours}"
    ours = OPTIONS[option][0]
    home = HOMES.get(ours.partition(" ")[0], "train")
    return f": here it is called {ours}, an option of lighthead {home}"


def dashed(option: str) -> str:
    """``--batch_size`` as ``--batch-size``."""
    return option.replace("_", "-")
