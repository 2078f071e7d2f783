"""The layouts in which a data folder may come.

A row is a function of the folder that returns, for each split, how to read it: ``{"train":
function without arguments that returns a Dataset}``, and ``{}`` for a folder in another layout. The
line says what it looks for. Another layout is another file and another row; the first that fits
counts.
"""

from __future__ import annotations

from nn.table import Table

FORMATS = Table(
    "layout",
    {
        "COCO": ("detector.datasets.coco:coco_splits", "annotations/instances_*.json"),
        "VOC": ("detector.datasets.voc:voc_splits", "Annotations/*.xml"),
        "Roboflow's COCO": (
            "detector.datasets.coco:roboflow_splits",
            "*/_annotations.coco.json",
        ),
        "VOC beside the pictures": ("detector.datasets.voc:beside_splits", "*.xml"),
    },
)
