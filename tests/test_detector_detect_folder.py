"""Which pictures ``detect`` looks at, and that one of them does not stop the others."""

import json

import numpy as np
import pytest
from field_cases import run
from PIL import Image
from small_data_set import picture

import lighthead
from detector.datasets import write_shapes
from detector.datasets.class_folders import ClassFolders
from detector.errors import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detect")
    write_shapes(folder / "data", train=4, val=2, image_size=64)
    options = ["--preset", "tiny", "--epochs", "1", "--batch", "2", "--short-side", "64"]
    options += ["--crop-iterations", "1", "--out", str(folder / "run")]
    assert lighthead.main(["train", "--data", str(folder / "data"), *options]) == 0
    return folder / "run"


def found(capsys, trained, folder, out, code=0):
    """The names of the results, and what was printed."""
    exit_code, text, errors = run(
        capsys,
        "detect",
        "--weights",
        trained,
        folder,
        "--out",
        out,
        "--json",
        out.with_suffix(".json"),
    )
    assert exit_code == code, errors
    assert json.loads(out.with_suffix(".json").read_text()) is not None
    tables = {"detections.csv", "counts.csv"}
    return sorted({path.name for path in out.iterdir()} - tables), text, errors


def test_hidden_files_and_others(capsys, trained, tmp_path):
    folder = tmp_path / "photos"
    names = ["a.png", "b/c.JPG", "d.gif", "e.jfif", ".ipynb_checkpoints/a-checkpoint.png"]
    for name in [*names, "__MACOSX/a.png"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture()).save(folder / name)
    for name in ("._a.png", "f.psd", "g.psd", "notes.txt", ".DS_Store", "README"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    results, text, _ = found(capsys, trained, folder, tmp_path / "out")
    assert results == ["a.png", "c.JPG", "d.png", "e.jfif"]
    assert "as PNG: the pictures that are .gif" in text
    assert f"passed over in {folder}: 2 .psd, 1 .txt, 1 no suffix" in text


@pytest.mark.parametrize("kind", ["itself", "two", "nowhere"])
def test_links_that_lead_nowhere(capsys, trained, tmp_path, kind):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(picture()).save(folder / "z.png")
    target = {"itself": "a.png", "two": "b.png", "nowhere": "gone.png"}[kind]
    (folder / "a.png").symlink_to(target)
    if kind == "two":
        (folder / "b.png").symlink_to("a.png")
    (folder / "again").symlink_to(".")
    results, _, errors = found(capsys, trained, folder, tmp_path / "out", code=2)
    assert results == ["z.png"]
    assert errors.count("\n") == 1 + (kind == "two") and "a.png" in errors
    # Named by itself it gets the same line.
    assert (
        run(capsys, "detect", "--weights", trained, folder / "a.png", "--out", tmp_path / "o")[0]
        == 2
    )


def test_folders_behind_links_are_searched(capsys, trained, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "photos").mkdir()
    Image.fromarray(picture()).save(tmp_path / "disk" / "a.png")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "disk")
    assert found(capsys, trained, tmp_path / "photos", tmp_path / "out")[0] == ["a.png"]


@pytest.mark.parametrize("size", [(3_100_000, 1), (1, 200_000), (70_000, 2)])
def test_long_thin_pictures(capsys, trained, tmp_path, size):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(folder / "0.png")
    Image.fromarray(picture()).save(folder / "1.png")
    (folder / "2.png").write_bytes(b"no picture")
    results, _, errors = found(capsys, trained, folder, tmp_path / "out", code=2)
    assert "1.png" in results and "2.png" in errors
    assert "0.png" in results or "0.png" in errors


# --------------------------------------------------------------------------- a folder per class


@pytest.mark.parametrize("stray", [".DS_Store", "README.md", "c.png"])
def test_class_folders_pass_over_what_is_no_class(tmp_path, stray):
    for name in (
        "cat/1.png",
        "cat/._1.png",
        "dog/2.webp",
        ".ipynb_checkpoints/1.png",
        "__MACOSX/1.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture()).save(tmp_path / name)
    Image.fromarray(picture()).save(tmp_path / stray, "PNG")
    folders = ClassFolders(tmp_path)
    assert folders.classes == ["cat", "dog"] and len(folders) == 2


def test_class_folders_that_are_links_or_nothing(tmp_path):
    with pytest.raises(UserError, match="no classification set"):
        ClassFolders(tmp_path / "none")
    for name in ("a", "b"):
        (tmp_path / "disk" / name).mkdir(parents=True)
        Image.fromarray(picture()).save(tmp_path / "disk" / name / "1.png")
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "set" / "loop").symlink_to("loop")
    assert ClassFolders(tmp_path / "set").classes == ["a", "b"]
