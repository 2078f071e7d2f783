"""Classification as a task: a classifier on the backbone of a detector, which the two share.

Its pictures are crops of the detection set's boxes, or come from a folder per class.
"""

from __future__ import annotations

import os

import nn
from detector.datasets import Loader
from detector.datasets.class_folders import ClassFolders, SquareTransform
from detector.training.objectives.crops import CropClassifier, Crops, crop_loader
from detector.training.objectives.objective import Objective
from detector.training.sessions import Session
from multitask.tasks.detection import Detection
from multitask.tasks.session_task import SessionTask


class Classification(SessionTask):
    """What a classification task does.

    Args:
        session: of the detector whose backbone it shares: backbone, initial weights and seed, and
            the numbers of its recipe's lessons on crops.
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
        self.images, self.folder = session.recipe.crops.batch, folder

    def objective(self) -> Objective:
        recipe, lessons = self.session.recipe, self.session.recipe.crops
        detection = Detection(self.session, self.iterations).objective()
        data = detection.train if self.folder is None else ClassFolders(self.folder)
        # A set smaller than a batch is one batch; otherwise all batches have the same size.
        drop_last = len(data) >= lessons.batch
        if self.folder is None:
            loader = crop_loader(data, recipe, self.seed, drop_last)
        else:
            transform = SquareTransform(lessons.size, recipe.augmentation.horizontal_flip)
            loader = Loader(data, transform, lessons.batch, self.seed, drop_last=drop_last)
        # Made as the detector is, so that the backbone starts from the same bits.
        detector = detection.model
        nn.manual_seed(self.seed)
        return Crops(CropClassifier(detector, len(data.classes)), loader)
