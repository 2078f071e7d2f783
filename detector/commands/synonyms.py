"""The names that people bring from other programs, and what each is called here.

From Ultralytics' YOLO, YOLOv5, torchvision's references, Detectron2 and MMDetection.
"""

from __future__ import annotations

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

# Option -> what to use instead; the first that the command has counts.
OPTIONS: dict[str, tuple[str, ...]] = {
    "--weights": ("--init-from",),
    "--model": ("--weights", "--backbone"),
    "--pretrained": ("--init-from",),
    "--checkpoint": ("--weights", "--init-from"),
    "--ckpt": ("--weights", "--init-from"),
    "--load-from": ("--init-from",),
    "--resume-from": ("--resume",),
    "--arch": ("--backbone",),
    "--network": ("--backbone",),
    "--cfg": ("--like", "--preset"),
    "--config": ("--like", "--preset"),
    "--config-file": ("--like", "--preset"),
    "--cfg-options": ("--set",),
    "--opts": ("--set",),
    "--hyp": ("--set",),
    "--imgsz": ("--short-side",),
    "--img": ("--short-side",),
    "--img-size": ("--short-side",),
    "--image-size": ("--short-side",),
    "--input-size": ("--short-side",),
    "--batch-size": ("--batch",),
    "--samples-per-gpu": ("--batch",),
    "--num-epochs": ("--epochs",),
    "--max-epochs": ("--epochs",),
    "--learning-rate": ("--lr",),
    "--lr0": ("--lr",),
    "--base-lr": ("--lr",),
    "--time": ("--minutes",),
    "--momentum": ("--set steps.momentum=...",),
    "--weight-decay": ("--set steps.weight_decay=...",),
    "--warmup-epochs": ("--set steps.warmup=...",),
    "--freeze": ("--set frozen_parts=...",),
    "--conf": ("--score",),
    "--conf-thres": ("--score",),
    "--confidence": ("--score",),
    "--score-thr": ("--score",),
    "--threshold": ("--score",),
    "--iou": ("--set head.selector.iou_threshold=... when training",),
    "--source": ("the pictures or folders, without an option",),
    "--input": ("the pictures or folders, without an option",),
    "--project": ("--out",),
    "--name": ("--out",),
    "--save-dir": ("--out",),
    "--output": ("--out",),
    "--output-dir": ("--out",),
    "--work-dir": ("--out",),
    "--dataset": ("--data",),
    "--data-path": ("--data",),
    "--dataset-dir": ("--data",),
    "--annotations": ("--data",),
    "--train-split": ("--train",),
    "--val-split": ("--val",),
    "--single-cls": ("--classes",),
    "--workers": ("--threads",),
    "--num-workers": ("--threads",),
    "--device": ("--threads (everything runs on the processor)",),
    "--gpus": ("--threads (everything runs on the processor)",),
    "--val-interval": ("--evaluate-every",),
    "--eval-interval": ("--evaluate-every",),
    "--random-seed": ("--seed",),
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
    for word in arguments:
        option = word.partition("=")[0]
        if word == "--":
            return ""
        if not option.startswith("--") or option in known:
            continue
        if sum(name.startswith(option) for name in known) == 1:
            continue
        ours = [
            name
            for name in OPTIONS.get(option, ())
            if name in known or name.partition(" ")[0] in known or not name.startswith("--")
        ]
        if ours:
            return f"there is no {option}: here it is called {ours[0]}"
        return f"there is no {option}{did_you_mean(option, known)}"
    return ""
