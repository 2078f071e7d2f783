"""Data: annotations in COCO's or VOC's format, synthetic shapes, and batches for training.

``open_dataset`` finds and checks a data set, ``Loader`` makes batches of it, ``write_shapes`` draws
one. ``inspection`` is what ``lighthead check-data`` knows.
"""

from detector.datasets.dataset import Dataset, ImageRecord
from detector.datasets.images import read_image
from detector.datasets.layout import open_dataset, read_dataset, splits
from detector.datasets.loader import Batch, Loader
from detector.datasets.problems import DatasetError, Problem
from detector.datasets.shapes import ShapesDataset, write_shapes
from detector.datasets.transforms import TrainTransform

__all__ = [
    "Batch",
    "Dataset",
    "DatasetError",
    "ImageRecord",
    "Loader",
    "Problem",
    "ShapesDataset",
    "TrainTransform",
    "open_dataset",
    "read_dataset",
    "read_image",
    "splits",
    "write_shapes",
]
