"""A page that shows annotated pictures with their boxes, to be looked at before anyone trains."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from detector import own_files
from detector.datasets import Dataset
from detector.datasets.files import spelled
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from nn.files import atomic_file
from nn.printable import printable

EACH_CLASS = 2  # pictures that show it
MOST = 120  # pictures on a page
LONG_SIDE = 640  # pixels
STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;margin:2rem;max-width:90rem}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:1.5rem}"
    "figure{margin:0}img{width:100%;height:auto}figcaption{overflow-wrap:anywhere}"
    "em{color:#b00020}:root{color-scheme:light dark}"
    "@media(prefers-color-scheme:dark){em{color:#ff8a80}}"
)


def write_data_page(splits: Mapping[str, Dataset], path: Path) -> int:
    """Write the page: of each split two pictures of every class, and all with a remark.

    Args:
        splits: the data sets by name, with what was found wrong with them.
        path: of the page; what is not such a page is not replaced.

    Returns:
        how many pictures are on it.

    Raises:
        UserError: something else lies at ``path``.
    """
    own_files.check_free(path, own_files.is_own_page)
    figures = []
    for split, dataset in splits.items():
        remarks = remarks_by_image(dataset)
        for index in chosen(dataset, remarks):
            if len(figures) < MOST:
                figures.append(figure(split, dataset, index, remarks.get(index, [])))
    title = f"{len(figures)} annotated pictures"
    page = (
        f"{own_files.PAGE}\n<html lang='en'><meta charset='utf-8'><title>{title}</title>"
        "<meta name='viewport' content='width=device-width'>"
        f"<style>{STYLE}</style><h1>{title}</h1><p>Every class at least {EACH_CLASS} times where "
        "there are so many, and whatever a remark was made about. Do the boxes fit their objects? "
        "Does each have its right name?</p><main>\n" + "\n".join(figures) + "\n</main></html>\n"
    )
    with atomic_file(path) as file:
        file.write(page.encode("utf-8", "replace"))
    return len(figures)


def remarks_by_image(dataset: Dataset) -> dict[int, list[str]]:
    """What was said of each image, by its place."""
    place = {record.id: index for index, record in enumerate(dataset.images)}
    remarks: dict[int, list[str]] = {}
    for problem in dataset.problems:
        if problem.image in place:
            remarks.setdefault(place[problem.image], []).append(str(problem))
    return remarks


def chosen(dataset: Dataset, remarks: Mapping[int, list[str]]) -> list[int]:
    """The images to show, by their places: those with remarks, then some of every class."""
    indices = dict.fromkeys(sorted(remarks))
    for label in range(1, len(dataset.classes) + 1):
        rows = dataset.annotations[dataset.annotations["label"] == label]
        shows = np.unique(rows["image"])
        spread = np.linspace(0, len(shows) - 1, min(EACH_CLASS, len(shows))).astype(int)
        indices |= dict.fromkeys(shows[spread].tolist())
    return list(indices)


def figure(split: str, dataset: Dataset, index: int, remarks: list[str]) -> str:
    """One picture with its boxes, as HTML that holds it."""
    record = dataset.images[index]
    rows = dataset.annotations[dataset.annotations["image"] == index]
    names = sorted({spelled(dataset.classes[label - 1]) for label in rows["label"]})
    caption = f"{split}: {record.path.name}: {len(rows)} boxes: {', '.join(names)}"
    notes = "".join(f"<br><em>{escaped(remark)}</em>" for remark in remarks)
    try:
        image = dataset.read(index)
    except UserError as error:
        return f"<figure><figcaption>{escaped(caption)}<br><em>{escaped(error)}</em></figcaption>"
    scale = min(1.0, LONG_SIDE / max(image.shape[:2]))
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    small = np.asarray(Image.fromarray(image).resize(size))
    factors = np.array(size * 2) / ([record.width, record.height] * 2)
    drawn = draw_detections(small, rows["box"] * factors, rows["label"], None, dataset.classes)
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "JPEG", quality=80)
    source = base64.b64encode(file.getvalue()).decode()
    return (
        f"<figure><img alt='{escaped(caption)}' src='data:image/jpeg;base64,{source}'>"
        f"<figcaption>{escaped(caption)}{notes}</figcaption></figure>"
    )


def escaped(text: object) -> str:
    """Text for a page: short, printable, without HTML's own signs."""
    return html.escape(printable(text, 500))
