"""The page of annotated pictures of ``check-data --draw``."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from field_cases import complaint, run
from PIL import Image
from small_data_set import annotation, coco_document, write_coco


def page(capsys, folder, path):
    code, shown, errors = run(
        capsys, "check-data", "--data", folder, "--no-timing", "--preset", "tiny", "--draw", path
    )
    assert "pictures with their boxes" in shown, errors
    return path.read_text(encoding="utf-8")


def test_every_class_and_everything_suspicious_is_shown(capsys, tmp_path):
    document = coco_document()
    document["annotations"].append(annotation(77, 7, 3, [60, 40, 30, 30]))
    document["categories"][0]["name"] = "<b>cat & 猫"
    folder = write_coco(tmp_path / "data", document)
    text = page(capsys, folder, tmp_path / "page.html")
    assert "sticks out" in text and "&lt;b&gt;cat &amp; 猫" in text and "<b>cat" not in text
    pictures = re.findall('base64,([^"]+)"', text)
    assert len(pictures) == text.count("<figure>") >= 2
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    assert max(image.shape) >= 480
    assert page(capsys, folder, tmp_path / "page.html") == text  # ours is replaced


def test_a_file_of_somebody_else_stays(capsys, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<!doctype html> my own")
    line = complaint(
        capsys, "check-data", "--data", write_coco(tmp_path / "data"), "--draw", path, "--no-timing"
    )
    assert "page.html" in line and path.read_text() == "<!doctype html> my own"
