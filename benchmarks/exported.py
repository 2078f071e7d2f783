"""A detector that was exported, beside the detector itself: how exact, and how fast.

    python -m benchmarks.exported --weights runs/blood --data bccd

For each runtime that is installed: COCO's AP and AP50 on a split; the detections that score 0.05 or
more and have no counterpart of their label within half a pixel and 0.01 in score; the largest
differences of those that have; and the milliseconds a picture takes, the median over the pictures
and its quartiles. The programs take turns, picture by picture, in one process. So one thread is
all that can be compared: pools of threads in one process would disturb each other.
"""

from __future__ import annotations

import argparse
import runpy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nn
from detector.commands.options import add_data, add_weights
from detector.datasets import open_dataset
from detector.detectors.compiled import CompiledDetector
from detector.evaluation.detections import to_coco
from detector.evaluation.figures import coco_evaluation
from detector.progress import Progress
from detector.tools.export import EXPORTS
from detector.tools.export.comparison import PIXELS, SCORE, Found, differences
from detector.tools.export.onnx_file import runtime
from detector.training.loading import load_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_weights(parser)
    add_data(parser)
    parser.add_argument("--split", default="val", metavar="NAME", help="(default: val)")
    args = parser.parse_args()
    nn.set_num_threads(1)
    detector = load_detector(args.weights)
    dataset = open_dataset(args.data, args.split, detector.classes, with_others=True)
    ours = CompiledDetector(detector.model)
    programs = {"ours": lambda image: ours.predict([image])[0]}
    with tempfile.TemporaryDirectory() as folder:
        first = [(str(dataset.images[0].path), dataset.load(0)[0])]
        for kind, openings in OPENINGS.items():
            path = Path(folder, f"detector.{kind}")
            try:
                EXPORTS[kind](detector, path, first)
                programs |= {name: opened(path) for name, opened in openings.items()}
            except Exception as error:  # what is missing here is named, and the others measured
                print(f"{kind}: {error}")
    measure(programs, dataset)


def onnx_runtime(path: Path) -> Callable[[np.ndarray], Found]:
    return runtime(path.read_bytes())


def openvino(path: Path) -> Callable[[np.ndarray], Found]:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    network = core.compile_model(core.read_model(path), "CPU", settings)

    def detect(image: np.ndarray) -> Found:
        found = network([image])
        return {name: found[name] for name in ("boxes", "scores", "labels")}

    return detect


def pytorch(path: Path) -> Callable[[np.ndarray], Found]:
    import torch

    torch.set_num_threads(1)
    return runpy.run_path(str(path.with_suffix(".py")))["load"](path).predict


OPENINGS = {
    "onnx": {"ONNX Runtime": onnx_runtime, "OpenVINO": openvino},
    "torch": {"PyTorch": pytorch},
}


def measure(programs: dict[str, Callable[[np.ndarray], Found]], dataset) -> None:
    """Print a line for each program; the first is what the others are compared with."""
    detections = {name: [] for name in programs}
    times = {name: [] for name in programs}
    far = {name: [] for name in programs}
    with Progress("pictures", len(dataset), unit="images") as progress:
        for index in range(len(dataset)):
            image, target = dataset.load(index)
            found = {}
            for name, detect in programs.items():
                detect(image)  # a size that was not seen before is made ready
                start = time.perf_counter()
                found[name] = detect(image)
                times[name].append(time.perf_counter() - start)
                image_id = target["image_id"]
                detections[name] += to_coco(image_id, found[name], dataset.category_ids)
            right = found["ours"]
            for name, other in found.items():
                far[name] += [each[1:] for each in differences(right, other)]
                far[name] += [each[1:] for each in differences(other, right)]
            progress.step()
    for name in programs:
        figures = coco_evaluation(dataset.coco_ground_truth(), detections[name]).figures
        apart = np.array(far[name]).reshape(-1, 2)
        alike = (apart <= (PIXELS, SCORE)).all(axis=1)
        pixels, score = apart[alike].max(axis=0, initial=0)
        low, middle, high = 1000 * np.percentile(times[name], (25, 50, 75))
        print(
            f"{name}: AP {figures['AP']:.4f}, AP50 {figures['AP50']:.4f}; {(~alike).sum()} of "
            f"{len(alike)} detections have no counterpart, the others differ by {pixels:.2g} "
            f"pixels and {score:.2g} in score at most; {middle:.0f} ms a picture "
            f"({low:.0f}-{high:.0f})"
        )


if __name__ == "__main__":
    main()
