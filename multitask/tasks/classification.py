"""Classification as a task: a classifier on the backbone of a detector, which the two share.

Its pictures are crops of the detection set's boxes, or come from a folder per class.
"""

from __future__ import annotations

import os
from functools import cached_property

import numpy as np

import nn
from detector.datasets import Loader
from detector.datasets.crops import CropTransform
from detector.parts.preprocess import to_batch
from detector.training.pretraining import CropClassifier
from detector.training.sessions import Session
from multitask.tasks.batches import Batches
from multitask.tasks.class_folders import ClassFolders, SquareTransform
from multitask.tasks.detection import Detection
from multitask.tasks.session_task import SessionTask
from nn import functional as F


class Classifier(CropClassifier):
    """The backbone of a detector with a classifier on it, and the detector's normalisation."""

    def __init__(self, detector, num_classes: int):
        super().__init__(detector.backbone, num_classes)
        self.image_mean, self.image_std = detector.image_mean, detector.image_std

    def loss(self, images: list[np.ndarray], labels: np.ndarray) -> nn.Tensor:
        """Cross entropy of square pictures (S, S, 3) uint8, all of one size, and labels (N,)."""
        size = images[0].shape[0]
        batch = to_batch(images, self.image_mean, self.image_std)
        # Without the padding to a multiple of 32, which would be most of a small picture.
        batch = np.ascontiguousarray(batch[:, :, :size, :size])
        return F.cross_entropy(self(nn.Tensor(batch)), labels)


class Classification(SessionTask):
    """What a classification task does.

    Args:
        session: of the detector whose backbone it shares: backbone, initial weights and seed, and
            the numbers ``crop_size`` and ``crop_batch`` of its recipe.
        iterations: of the whole training. The learning rate is that of detection, as in the thesis
            (section 4.2).
        name: of the task.
        folder: one folder of pictures per class; None: crops of the detection set's boxes.
    """

    def __init__(
        self,
        session: Session,
        iterations: int,
        name: str = "classification",
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(session, iterations, name)
        self.images, self.folder = session.recipe.crop_batch, folder

    @cached_property
    def batches(self) -> Batches:
        recipe = self.session.recipe
        if self.folder is None:
            data = self.train
            transform = CropTransform(
                len(data.classes),
                recipe.crop_size,
                horizontal_flip=recipe.horizontal_flip,
                vertical_flip=recipe.vertical_flip,
            )
        else:
            data = ClassFolders(self.folder)
            transform = SquareTransform(recipe.crop_size, recipe.horizontal_flip)
        # A set smaller than a batch is one batch; otherwise all batches have the same size.
        drop_last = len(data) >= recipe.crop_batch
        return Batches(Loader(data, transform, recipe.crop_batch, self.seed, drop_last=drop_last))

    def model(self) -> Classifier:
        # Made as the detector is, so that the backbone starts from the same bits.
        detector = Detection(self.session, self.iterations).model()
        nn.manual_seed(self.seed)
        return Classifier(detector, len(self.batches.loader.dataset.classes))

    def loss(self, model: Classifier, iteration: int) -> nn.Tensor:
        batch = self.batches[iteration]
        labels = np.array([target["label"] for target in batch.targets])
        return model.loss(batch.images, labels)
