"""What ``lighthead detect`` makes of what it finds: a file for each kind of result.

A row is a class with the contract of ``result.py``; of ``LABELS``, one that writes a data set which
``detector.datasets`` reads again.
"""

from __future__ import annotations

from nn.table import Table

RESULTS = Table(
    "kind of result",
    {
        "pictures": ("detector.results.pictures:Pictures", "the pictures with boxes"),
        "videos": ("detector.results.videos:Videos", "the videos with boxes"),
        "tables": ("detector.results.tables:Tables", "detections.csv and counts.csv"),
        "json": ("detector.results.coco_results:CocoResults", "COCO's results"),
        "crops": ("detector.results.crops:Crops", "each detection, in a folder for each class"),
    },
)

LABELS = Table(
    "format of labels",
    {
        "yolo": ("detector.results.yolo_labels:YoloLabels", "images, labels and data.yaml"),
        "voc": ("detector.results.voc_labels:VocLabels", "JPEGImages and Annotations"),
        "coco": ("detector.results.coco_labels:CocoLabels", "images and annotations"),
    },
)
