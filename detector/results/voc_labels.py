"""Labels in Pascal VOC's format: an XML file a picture, whole pixels that count from 1."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from detector.results.labels import Labels
from detector.results.result import Job, Look


class VocLabels(Labels):
    format = "voc"
    pictures = "JPEGImages"

    def __init__(self, job: Job):
        super().__init__(job)
        self.listed: list[str] = []

    def label(self, look: Look, name: str) -> None:
        height, width = look.image.shape[:2]
        root = ElementTree.Element("annotation")
        add(root, folder=self.pictures, filename=name)
        add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=3)
        add(root, segmented=0)
        for box, label in zip(look.shown["boxes"].tolist(), look.shown["labels"], strict=True):
            entry = ElementTree.SubElement(root, "object")
            add(entry, name=printed(self.job.classes[label - 1]), pose="Unspecified")
            add(entry, truncated=0, difficult=0)
            # A corner includes its pixel, so the first one is a pixel further and none is lost.
            x1, y1 = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
            x2, y2 = max(round(box[2]), x1 + 1), max(round(box[3]), y1 + 1)
            corners = ElementTree.SubElement(entry, "bndbox")
            add(corners, xmin=x1 + 1, ymin=y1 + 1, xmax=x2, ymax=y2)
        ElementTree.indent(root)
        stem = Path(name).stem
        self.write(f"Annotations/{stem}.xml", ElementTree.tostring(root, "unicode") + "\n")
        self.listed.append(stem)

    def finish(self) -> list[str]:
        if self.listed:
            self.write("ImageSets/Main/train.txt", "".join(f"{stem}\n" for stem in self.listed))
        return super().finish()


def add(parent: ElementTree.Element, **values: object) -> None:
    """Children that hold a text or a number each."""
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)


def printed(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter for letter in text if letter.isprintable())
