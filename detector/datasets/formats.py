"""The layouts in which a data folder may come.

A row is a function of the folder, or of the file in it that was named, that returns, for each
split, how to read it: ``{"train": function without arguments that returns a Dataset}``, and ``{}``
for a folder in another layout. The line says what it looks for. Another layout is another file and
another row; the first that fits counts.
"""

from __future__ import annotations

from nn.table import Table

FORMATS = Table(
    "layout",
    {
        "COCO": ("detector.datasets.coco_layout:coco_splits", "annotations/instances_*.json"),
        "VOC": ("detector.datasets.voc:voc_splits", "Annotations/*.xml"),
        "Roboflow's COCO": (
            "detector.datasets.coco_layout:roboflow_splits",
            "*/_annotations.coco.json",
        ),
        "COCO in one file": (
            "detector.datasets.coco_layout:json_splits",
            "*.json with images, annotations and categories",
        ),
        "YOLO": ("detector.datasets.yolo:yolo_splits", "data.yaml, or *.txt for the pictures"),
        "CVAT": ("detector.datasets.cvat:cvat_splits", "*.xml with all images"),
        "VOC beside the pictures": ("detector.datasets.voc:beside_splits", "*.xml"),
        "LabelMe": ("detector.datasets.labelme:labelme_splits", "*.json with shapes"),
        "CSV": ("detector.datasets.csv_table:csv_splits", "*.csv with a row for each box"),
    },
)
