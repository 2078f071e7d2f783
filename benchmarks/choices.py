"""What each choice of the preset ``laptop`` is worth: one taken back at a time, the rest as it is.

    python -m benchmarks.choices --data bccd --init-from shufflenet_v2_x0_5.pth [--out runs/choices]
        [--only "frozen batch norm,one anchor an object"] [--seed 0] [--threads 1]

Every row is a whole training run in a folder of its own; those that are finished are only read, so
the program can be stopped, resumed, and run twice side by side with other rows. Prints a table in
Markdown: COCO's AP50 on the validation split after the last epoch, and each class's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from detector.commands.options import add_data, add_threads, names
from detector.training.presets import preset
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, choose_splits, run_session

LAPTOP = preset("laptop")

# Row of the table: what changes in the recipe, by its path.
CHOICES = {
    "laptop": {},
    "frozen batch norm": {"frozen_batch_norm": True},
    "no batch norm in the RPN": {"rpn.norm": "none"},
    "no batch norm on the thin map": {"thin_map.norm": "none"},
    "N(0 0.01) instead of He": {f"{part}.init": "gaussian" for part in ("rpn", "thin_map", "head")},
    "the thesis's anchors": {"fit_anchors": None},
    "one anchor an object": {"rpn.matcher.anchors_per_box": 1},
    "anchors inside only": {"rpn.matcher.inside_only": True},
    "hard examples": {"head.hard_examples": 64, "head.sampler.count": -1},
    "maximum in the bins": {"head.pooling_mode": "max"},
    "512 proposals": {"rpn.train_selector.post_nms": 512},
    "learning rate 0.01": {"steps.lr_per_image": 0.01 / LAPTOP.steps.batch},
    "pooling at stride 32": {"thin_map.source": "c5", "rpn.source": "backbone"},
    "proposals from the backbone's map": {"rpn.source": "backbone"},
    "the head's probability alone": {"head.objectness_share": 0.0},
    "the backbone at the whole rate": {"steps.backbone_lr_scale": 1.0},
    "no zoom": {"augmentation.zoom": [1.0, 1.0]},
    "no colours": {"augmentation.colour_jitter": 0.0},
}


def session(name: str, args: argparse.Namespace) -> Session:
    """The run of one row. It is measured once, at its end, so that nothing is picked."""
    recipe = LAPTOP.changed("steps.evaluate_every", LAPTOP.steps.epochs)
    for path, value in CHOICES[name].items():
        recipe = recipe.changed(path, value)
    train, val = choose_splits(args.data, None, None)
    return Session(
        data=str(Path(args.data).resolve()),
        train=train,
        val=val,
        preset="laptop",
        init_from=str(Path(args.init_from).resolve()),
        seed=args.seed,
        recipe=recipe,
    )


def figures(name: str, args: argparse.Namespace) -> dict:
    """What ``evaluation.json`` of the row's run holds; trains where that is still to be done."""
    run = RunFolder(Path(args.out) / name.replace(" ", "-").replace("(", "").replace(")", ""))
    if not run.evaluation.exists():
        if not run.last.exists():
            run.create()
        run_session(session(name, args), run)
    return json.loads(run.evaluation.read_text(encoding="utf-8"))


def row(name: str, evaluation: dict) -> str:
    """One line of the table."""
    cells = [evaluation["figures"]["AP50"]] + [entry["AP50"] for entry in evaluation["classes"]]
    return f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--init-from", required=True, metavar="WEIGHTS")
    parser.add_argument("--out", default="runs/choices", metavar="DIR")
    parser.add_argument("--only", type=names, metavar="A,B", default=list(CHOICES))
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    add_threads(parser)
    args = parser.parse_args()
    evaluations = {name: figures(name, args) for name in args.only}
    classes = [entry["name"] for entry in next(iter(evaluations.values()))["classes"]]
    print("\n| one change | AP50 | " + " | ".join(classes) + " |")
    print("|---" * (len(classes) + 2) + "|")
    for name, evaluation in evaluations.items():
        print(row(name, evaluation))


if __name__ == "__main__":
    main()
