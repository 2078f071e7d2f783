"""Write a trained detector as a file for other programs.

  onnx         one file, picture in, boxes out: it resizes the picture and suppresses doubles
               itself. ONNX Runtime, OpenVINO and many others run it, in any language. Needs the
               packages onnx and onnxruntime: pip install "lighthead[export]"
  safetensors  the weights alone, by name, and what they mean
  torch        a state dict and one Python file that loads it and detects, with PyTorch alone

Before the file is kept, it looks at ten pictures: those of --pictures, or of the data that the
detector was measured with, or drawn ones where those are gone. If it does not find what lighthead
finds, it is not written, and the picture that shows it is named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.commands.options import add_threads, add_weights
from detector.datasets import ShapesDataset, open_dataset
from detector.datasets.files import files_below
from detector.datasets.images import SUFFIXES, read_image
from detector.errors import UserError
from detector.tools.export import EXPORTS
from detector.training.loading import LoadedDetector, load_detector
from detector.training.run_folder import RunFolder
from detector.training.sessions import read_session
from nn.printable import printable

EXAMPLES = """examples:
  lighthead export --weights runs/blood --to onnx
  lighthead export --weights runs/blood/best.ckpt --to torch --out blood.pth --pictures photos/
"""

COUNT = 10  # of the pictures
SUFFIX = {"onnx": ".onnx", "safetensors": ".safetensors", "torch": ".pth"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    parser.add_argument("--to", required=True, metavar="KIND", help=f"{', '.join(EXPORTS)}")
    parser.add_argument(
        "--out", metavar="FILE", help="(default: the run's name with the kind's suffix)"
    )
    parser.add_argument(
        "--pictures", nargs="+", metavar="IMAGE_OR_FOLDER", help="to compare with (the first ten)"
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if args.to not in EXPORTS:
        raise UserError(EXPORTS.complaint(args.to))
    detector = load_detector(args.weights)
    out = Path(args.out or f"{name_of(detector.path)}{SUFFIX[args.to]}")
    pictures = pictures_to_compare(detector, args.pictures)
    print(printable(f"{out}: {EXPORTS[args.to](detector, out, pictures)}"))
    return 0


def name_of(checkpoint: Path) -> str:
    """What the export of a checkpoint is called: as its run, or as the file if that is no run's."""
    folder = checkpoint.resolve().parent
    return folder.name if RunFolder(folder).config.exists() else checkpoint.stem


def pictures_to_compare(
    detector: LoadedDetector, given: Sequence[str] | None
) -> list[tuple[str, np.ndarray]]:
    """Names and pixels of ten pictures.

    Raises:
        UserError: a given one cannot be read, or there is none.
    """
    if given:
        files = []
        for path in map(Path, given):
            inside = files_below(path) if path.is_dir() else [path]
            files += [file for file in inside if file == path or file.suffix.lower() in SUFFIXES]
        if not files:
            raise UserError(f"there is no picture in {', '.join(given)}")
        return [(str(file), read_image(file)) for file in files[:COUNT]]
    try:
        session = read_session(RunFolder(detector.path.parent))
        dataset = open_dataset(session.data, session.val or session.train, session.classes)
    except UserError:
        dataset = ShapesDataset(COUNT, seed=1)
    picked = np.unique(np.linspace(0, len(dataset) - 1, COUNT).astype(int)).tolist()
    return [(str(dataset.images[index].path), dataset.load(index)[0]) for index in picked]
