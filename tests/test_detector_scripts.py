"""Names in every script: drawn so that they can be read, and printed in any encoding."""

import io
import json
import os
import sys
import unicodedata

import numpy as np
import pytest
from field_cases import QUICK, complaint, field_case, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_data_set import coco_document, picture, voc_object, voc_xml, write_coco, write_voc

import lighthead
from detector.commands.options import names
from detector.datasets import open_dataset
from detector.evaluation import fonts
from detector.evaluation.drawing import draw_detections
from detector.evaluation.fonts import legend

NAMES = ["螺栓", "гайка", "برغي", "पेंच", "🔩", "Mutter größer", "ボルト", "볼트", "βίδα", "ñandú"]


def drawn(*classes) -> np.ndarray:
    """The label of the last class, on a grey picture."""
    image = np.full((480, 480, 3), 100, np.uint8)
    box, label = np.array([[100.0, 200, 400, 400]]), np.array([len(classes)])
    return draw_detections(image, box, label, None, classes)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_its_letters_or_its_number(name):
    number = drawn("x", "2")
    if fonts.font(name, 20) is None:
        assert f"2 is {name}" in legend(["x", name])
        np.testing.assert_array_equal(drawn("x", name), number)
    else:
        assert legend(["x", name]) == ""
        # The box of a letter that is not there looks the same for all letters.
        other = "".join(reversed(name)) if len(name) > 1 else "⚙"
        assert (drawn("x", name) != drawn("x", other)).any()
        assert (drawn("x", name) != number).any()


@pytest.mark.parametrize("name", ["гайка", "größe", "βίδα", "عربي"])
def test_what_matplotlibs_font_has_needs_no_legend(name):
    assert legend([name]) == ""


@pytest.mark.parametrize("classes", [["螺栓", "a", "гайка"], ["\ue000"], ["\U0001f9ff", "b", "c"]])
def test_without_fonts_numbers_are_drawn(monkeypatch, classes):
    monkeypatch.setattr(fonts, "font_files", lambda: [])
    fonts.font_file.cache_clear()
    try:
        line = legend(classes)
        for label, name in enumerate(classes, start=1):
            assert (f"{label} is {name}" in line) != name.isascii()
        np.testing.assert_array_equal(drawn(classes[0]), drawn("1"))
    finally:
        fonts.font_file.cache_clear()


def test_broken_fonts_are_passed_over(monkeypatch, tmp_path):
    (tmp_path / "a.ttf").write_bytes(b"no font")
    good = fonts.font_files()[0]
    monkeypatch.setattr(fonts, "font_files", lambda: [str(tmp_path / "a.ttf"), "/gone.otf", good])
    fonts.font_file.cache_clear()
    assert fonts.font_file(fonts.letters("гайка")) == good
    fonts.font_file.cache_clear()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8", "latin-1"])
@pytest.mark.parametrize("name", ["螺栓", "гайка", "€ \x7f 🔩"])
def test_output_in_any_encoding(monkeypatch, tmp_path, encoding, name):
    files = {f"{n}": voc_xml(voc_object(name, (1, 1, 30, 30))) for n in range(6)}
    write_voc(tmp_path, files)
    streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    code = lighthead.main(["check-data", "--data", str(tmp_path), "--no-timing"])
    streams[0].flush()
    text = streams[0].buffer.getvalue().decode(encoding)
    name = name.replace("\x7f", "\\x7f")  # which would act on a terminal
    assert code == 0 and name.encode(encoding, "backslashreplace").decode(encoding) in text


@pytest.mark.parametrize("raw", [b"caf\xe9.png", b"\xff\xfe.png", b"\x80.png"])
def test_file_names_that_are_no_utf_8(capsys, monkeypatch, tmp_path, trained, raw):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("names are Unicode here")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(picture()).save(pictures / "ordinary.png")
    os.link(pictures / "ordinary.png", os.path.join(os.fsencode(pictures), raw))
    for number in range(2):
        stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict")
        monkeypatch.setattr(sys, "stdout", stream)
        found = tmp_path / f"{number}.json"
        arguments = ["--out", str(tmp_path / f"out{number}"), "--json", str(found)]
        given_pictures = (
            [str(pictures)] if number else [os.path.join(str(pictures), os.fsdecode(raw))]
        )
        code = lighthead.main(["detect", "--weights", str(trained), *given_pictures, *arguments])
        assert code == 0 and json.loads(found.read_text()) is not None
        assert len(list((tmp_path / f"out{number}").glob("*.png"))) == number + 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on classes in three scripts, one of them decomposed."""
    folder = tmp_path_factory.mktemp("scripts")
    document = coco_document()
    for entry, name in zip(document["categories"], ("螺栓", "Größe", "पेंच"), strict=True):
        entry["name"] = unicodedata.normalize("NFD", name)
    write_coco(folder / "data", document)
    out = folder / "run"
    assert lighthead.main(["train", "--data", str(folder / "data"), "--out", str(out), *QUICK]) == 0
    return out


def test_classes_are_the_same_composed_and_decomposed(capsys, tmp_path, trained):
    document = coco_document()
    for entry, name in zip(document["categories"], ("螺栓", "Größe", "पेंच"), strict=True):
        entry["name"] = unicodedata.normalize("NFC", name)
    folder = write_coco(tmp_path, document)
    code, _, errors = run(
        capsys, "evaluate", "--data", folder, "--split", "train", "--weights", trained
    )
    assert code == 0, errors
    for form in ("NFC", "NFD"):
        chosen = [unicodedata.normalize(form, "Größe")]
        assert open_dataset(folder, "train", chosen).classes == ["Größe"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        (" a , b c ", ["a", "b c"]),
        ('"bolt, M8",nut', ["bolt, M8", "nut"]),
        ('nut, "bolt, ""M8"""', ["nut", 'bolt, "M8"']),
        ("", []),
        ("螺栓,гайка", ["螺栓", "гайка"]),
        ("two\nlines", ["two lines"]),
    ],
)
def test_lists_of_names(text, expected):
    assert names(text) == expected


@given(st.text())
def test_any_list_of_names_is_a_list(text):
    assert all(name.strip() == name for name in names(text))


@pytest.mark.parametrize(
    "name", ["bolt, M8", " padded ", "a, b, c", "  x,", "two\nlines", "tab\tand  blanks"]
)
def test_classes_with_commas_and_blanks(capsys, tmp_path, name):
    document = coco_document()
    document["categories"][1]["name"] = name
    folder, quoted = write_coco(tmp_path / "data", document), f'"{name}",dog'
    dataset = open_dataset(folder, "train", names(quoted))
    assert dataset.classes == [name, "dog"] and len(dataset.target(0)["boxes"]) == 2
    wrong = complaint(capsys, "train", "--data", folder, "--classes", f"{name.strip()[:3]}x,dog")
    assert "has no class" in wrong


def test_half_a_letter_is_no_class(capsys, tmp_path):
    document = coco_document()
    document["categories"][0]["name"] = "\ud800"
    line = complaint(capsys, "train", "--data", write_coco(tmp_path, document))
    assert "'name' must be a text" in line


def test_field_case_13(capsys, tmp_path):
    folder, out = field_case("13-chinese-class-names"), tmp_path / "run"
    code, text, errors = run(capsys, "train", "--data", folder, "--out", out, *QUICK)
    assert code == 0, errors
    assert ("1 is 螺栓" in text) == (fonts.font("螺栓", 13) is None)
