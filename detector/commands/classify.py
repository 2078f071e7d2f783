"""Say what pictures show: the likeliest classes of each, with their probabilities in per cent.

--weights is a run of `train --task classification`, or its checkpoint. With --network it is a file
of weights for that network with 1000 classes, torchvision's for example, or the word imagenet for
the published one, which is downloaded once. Such a file does not say what its classes are called:
they are numbers from 0 on, unless --names has a file with a name on each line.

Of a picture the square in the middle is looked at; with published weights, as is usual for them,
one that leaves an eighth away.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nn
from detector.commands.options import add_threads
from detector.datasets.images import read_image
from detector.errors import UserError
from detector.parts.preprocess import ImageSettings, resize
from detector.results.sources import find_sources
from detector.training import checkpoints
from detector.training.objectives.crops import squares
from detector.training.published_weights import weights_file
from detector.training.run_folder import RunFolder
from nn.models import NETWORKS, Network, load_weights
from nn.printable import printable
from nn.weights import WeightsError

EXAMPLES = """examples:
  lighthead classify --weights runs/birds photo.jpg
  lighthead classify --network resnet50 --weights imagenet photos/ --top 3
  lighthead classify --network vgg16 --weights vgg16-397923af.pth --names imagenet.txt photo.jpg
"""

CROP = 0.875  # 224 of 256 pixels


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode, and how it wants its pictures.

    Attributes:
        classes: their names.
        part: of the shorter side, that is the side of the square that is looked at.
    """

    network: Network
    classes: Sequence[str]
    image: ImageSettings
    part: float

    def probabilities(self, picture: np.ndarray) -> np.ndarray:
        """Of each class (K,), for a picture (H, W, 3) uint8."""
        height, width = picture.shape[:2]
        side = max(1, round(min(height, width) * self.part))
        y, x = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(picture[y : y + side, x : x + side])
        images = squares([resize(square, (self.image.short_side,) * 2)], self.image)
        with nn.no_grad():
            scores = self.network(images).data[0].astype(np.float64)
        exponentials = np.exp(scores - scores.max())
        return exponentials / exponentials.sum()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", metavar="PICTURE_OR_FOLDER")
    parser.add_argument(
        "--weights", required=True, metavar="RUN_OR_FILE", help="see above; or the word imagenet"
    )
    parser.add_argument(
        "--network", metavar="NAME", help="whose weights they are: `lighthead networks` lists them"
    )
    parser.add_argument("--names", metavar="FILE", help="of the classes, one on a line")
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="how many (default: %(default)s)"
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    if args.top < 1:
        raise UserError(f"--top must be at least 1, not {args.top}")
    if args.network and args.network not in NETWORKS:
        raise UserError(NETWORKS.complaint(args.network))
    if args.names and not args.network:
        raise UserError("--names is for --network: a run knows what its classes are called")
    with tempfile.TemporaryDirectory() as spool:
        sources, complaints = find_sources(args.pictures, Path(spool) / "out", Path(spool))
        classifier = of_file(args) if args.network else of_run(Path(args.weights))
        for source in sources:
            try:
                picture = read_image(source.path)
            except UserError as error:
                complaints.append(str(error))
                continue
            found = classifier.probabilities(picture)
            likeliest = np.argsort(-found, kind="stable")[: args.top]
            words = (f"{printable(classifier.classes[k])} {100 * found[k]:.1f}" for k in likeliest)
            print(f"{printable(source.given)}: {', '.join(words)}")
    for complaint in complaints:
        print(f"lighthead: {printable(complaint)}", file=sys.stderr)
    return 2 if complaints else 0


def of_run(path: Path) -> Classifier:
    """What a training has left.

    Raises:
        UserError: it is no training of a classifier, or cannot be used.
    """
    if path.is_dir():
        path = RunFolder(path).best_or_last()
    tree = checkpoints.read(path, "classification")
    about = tree["about"]
    with checkpoints.understood(path):
        classes = [str(name) for name in about["classes"]]
        network = NETWORKS[about["network"]](num_classes=len(classes))
        image = ImageSettings.of(about["image"])
    checkpoints.restore(network, tree, path)
    return Classifier(network.eval(), classes, image, part=1.0)


def of_file(args: argparse.Namespace) -> Classifier:
    """A network of the table with weights from a file.

    Raises:
        UserError: there is no such file, it does not fit, or the names are not as many as classes.
    """
    with nn.init.skipped():
        network = NETWORKS[args.network]()
    path = weights_file(args.weights, args.network)
    try:
        report = load_weights(network, path)
    except FileNotFoundError:
        raise UserError(f"there are no weights {path}") from None
    except (WeightsError, OSError) as error:
        raise UserError(str(error)) from error
    if report.missing or report.mismatched:
        raise UserError(f"these are not all weights of {args.network} with 1000 classes: {report}")
    mean, std = network.preprocessing
    image = ImageSettings(network.side, network.side, mean, std)
    return Classifier(network.eval(), names_of(args.names), image, part=CROP)


def names_of(path: str | None) -> list[str]:
    if path is None:
        return [f"class {number}" for number in range(1000)]
    try:
        names = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the names in {path} ({error})") from None
    if len(names) != 1000:
        raise UserError(f"{path} has {len(names)} lines, one for each of 1000 classes are expected")
    return names
