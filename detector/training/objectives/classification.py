"""Classification: a network of ``nn.models.NETWORKS`` learns pictures in one folder per class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

import nn
from detector.datasets import Batch, Loader
from detector.datasets.class_folders import ClassFolders, SquareTransform, open_class_folders
from detector.errors import UserError
from detector.parts.preprocess import ImageSettings
from detector.progress import Progress
from detector.settings import Fraction, Range, Settings
from detector.training import checkpoints
from detector.training.objectives.crops import squares
from detector.training.objectives.objective import Objective
from detector.training.published_weights import weights_file
from detector.training.run_folder import RunFolder
from detector.training.steps import Steps
from nn import functional as F
from nn.files import write_json
from nn.models import NETWORKS, Network, load_weights
from nn.printable import printable
from nn.weights import WeightsError

if TYPE_CHECKING:
    from detector.training.sessions import Session


@dataclass(frozen=True)
class ClassificationRecipe(Settings):
    """
    Attributes:
        network: a name in ``nn.models.NETWORKS``.
        side: of the square that the network sees, in pixels.
        horizontal_flip: probability of mirroring a training picture.
        smallest: a training picture shows a random square of at least this part of the shorter side
            of its photograph.
        auxiliary: whether the auxiliary classifiers learn too that GoogLeNet and Inception v3 have
            half-way in training; their losses count as in the papers.
        label_smoothing: part of a picture's class that is given to all classes alike.
        frozen_parts: how many parts of the network stay as loaded, from the stem on.
        steps: how it steps.
    """

    # What the command line has an option of its own for, and where it is.
    options: ClassVar[Mapping[str, str]] = {
        "network": "network",
        "epochs": "steps.epochs",
        "batch": "steps.batch",
        "lr": "steps.lr",
        "short_side": "side",
        "evaluate_every": "steps.evaluate_every",
    }

    network: str = "shufflenet_v2_x0_5"
    side: Annotated[int, Range(32, 4096)] = 96
    horizontal_flip: Fraction = 0.5
    smallest: Annotated[float, Range(0.05, 1.0)] = 0.6
    auxiliary: bool = False
    label_smoothing: Fraction = 0.0
    frozen_parts: Annotated[int, Range(0, 1000)] = 0
    steps: Steps = Steps(
        batch=32,
        epochs=20,
        least_iterations=300,
        lr_per_image=0.1 / 32,
        weight_decay=4e-5,  # ShuffleNet's papers
        warmup=50,
        schedule="cosine",
        clip_norm=10.0,
    )

    def resized(self, short_side: int) -> ClassificationRecipe:
        """A copy for pictures of another size."""
        return self.changed("side", short_side)


class Classification(Objective):
    """
    Args:
        session: data, recipe and seed. The data are a folder of folders, one a class, or such a
            folder for each split; without splits, a fifth is kept to measure with.
        begun: what ``describe`` said, if the training has begun.
    """

    task = "classification"
    Recipe = ClassificationRecipe
    figures = {"accuracy": "accuracy"}
    best = "accuracy"

    def __init__(self, session: Session, begun: dict | None = None):
        self.session, self.begun = session, begun

    @cached_property
    def splits(self) -> tuple[ClassFolders, ClassFolders]:
        return open_class_folders(self.session.data)

    @property
    def measured(self) -> int:
        return len(self.splits[1])

    @cached_property
    def image(self) -> ImageSettings:
        if self.begun is not None:
            return ImageSettings.of(self.begun["image"])
        preprocessing = self.model.preprocessing
        side = self.session.recipe.side
        return ImageSettings(side, side, preprocessing.mean, preprocessing.std)

    @cached_property
    def model(self) -> Network:
        recipe = self.session.recipe
        nn.manual_seed(self.session.seed)
        try:
            make, options = NETWORKS[recipe.network], {}
            if recipe.auxiliary:
                if "auxiliary" not in inspect.signature(make).parameters:
                    raise UserError(f"{recipe.network} has no auxiliary classifiers")
                options = {"auxiliary": True}
            model = make(num_classes=len(self.splits[0].classes), **options)
            if self.session.init_from is not None:
                if self.begun is None:
                    print(load_weights(model, weights_file(self.session.init_from, recipe.network)))
                model.freeze(recipe.frozen_parts, batch_norm=False)
        except FileNotFoundError:
            raise UserError(f"there are no weights {self.session.init_from}") from None
        except (LookupError, WeightsError, ValueError) as error:
            raise UserError(str(error)) from error
        return model

    @cached_property
    def loader(self) -> Loader:
        recipe, train = self.session.recipe, self.splits[0]
        transform = SquareTransform(recipe.side, recipe.horizontal_flip, recipe.smallest)
        batch = min(recipe.steps.batch, len(train))
        return Loader(train, transform, batch, self.session.seed, drop_last=True)

    def loss(self, batch: Batch, rng: np.random.Generator) -> dict[str, nn.Tensor]:
        images, labels = squares(batch.images, self.image), labels_of(batch)
        smoothing = self.session.recipe.label_smoothing
        (_, scores), *others = self.model.weighted_scores(images)
        losses = {"cross_entropy": F.cross_entropy(scores, labels, label_smoothing=smoothing)}
        for number, (weight, scores) in enumerate(others, 1):
            loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)
            losses[f"auxiliary_{number}"] = weight * loss
        return losses

    def name(self, batch: Batch) -> str:
        return ", ".join(str(self.splits[0].images[index][0]) for index in batch.indices)

    def measure(self, check: Callable[[], None]) -> dict[str, float]:
        """The part of the pictures to measure with that is classified rightly."""
        right = self.right(check, "validating")
        return {"accuracy": float(np.concatenate(right).mean())}

    def right(self, check: Callable[[], None], title: str) -> list[np.ndarray]:
        """For each class, which of its pictures are classified rightly, bool."""
        val, side = self.splits[1], self.session.recipe.side
        centre = SquareTransform(side, 0.0, 1.0, is_random=False)
        loader = Loader(val, centre, 1, shuffle=False, cache_megabytes=0)
        network = nn.inference.compile(self.model, (1, 3, side, side))
        right: list[list[bool]] = [[] for _ in val.classes]
        with Progress(title, len(val), unit="images") as progress:
            for batch in loader.epoch(0):
                scores = network(squares(batch.images, self.image).data)
                (label,) = labels_of(batch)
                right[label].append(bool(scores[0].argmax() == label))
                progress.step()
                check()
        return [np.array(found, bool) for found in right]

    def describe(self) -> dict:
        recipe, train = self.session.recipe, self.splits[0]
        return {
            "network": recipe.network,
            "classes": train.classes,
            "image": self.image.as_dict(),
            "pictures": len(train),
            "digest": train.digest(),
        }

    def announce(self) -> list[str]:
        train, val = self.splits
        parameters = sum(p.data.size for p in self.model.parameters() if p.requires_grad)
        return [
            f"{len(train)} pictures to learn {len(train.classes)} classes from, {len(val)} to "
            "measure with",
            f"{self.session.recipe.network}: {parameters:,} parameters learn",
        ]

    def conclude(self, run: RunFolder) -> dict[str, float | None]:
        checkpoints.restore(self.model, checkpoints.read(run.best_or_last(), self.task), run.path)
        right = self.right(lambda: None, "evaluating")
        figures = {"accuracy": float(np.concatenate(right).mean())}
        classes = [
            {
                "name": name,
                "pictures": len(found),
                "accuracy": float(found.mean()) if len(found) else None,
            }
            for name, found in zip(self.splits[1].classes, right, strict=True)
        ]
        write_json(run.evaluation, {"figures": figures, "classes": classes})
        for entry in classes:
            score = "-" if entry["accuracy"] is None else f"{entry['accuracy']:.3f}"
            print(f"{printable(entry['name'])}: {score} of {entry['pictures']} pictures")
        print(f"accuracy {figures['accuracy']:.3f}\n\nfigures: {run.evaluation}")
        print(f"curves: {run.curves}")
        return figures


def labels_of(batch: Batch) -> np.ndarray:
    """(N,) int64 from 0 on; in the data set they begin with 1, as in detection."""
    return np.array([target["label"] for target in batch.targets]) - 1
