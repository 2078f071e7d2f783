"""No command replaces what this program did not write, whatever its name and wherever it lies."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from field_cases import complaint, field_case, run
from PIL import Image
from test_detector_compiled import model, picture

from detector import own_files
from detector.datasets import write_shapes
from detector.errors import UserError
from detector.evaluation import validation
from detector.training import checkpoints
from detector.training.loading import LoadedDetector
from detector.training.run_folder import RunFolder
from nn.files import write_json

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.ckpt"
    built = model()
    about = {"detector": "light-head-rcnn", "config": built.config()}
    about |= {"classes": ["a", "b", "c"], "category_ids": [1, 2, 3]}
    checkpoints.write(path, "detection", built, about)
    return path


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(48, 64, seed)).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestPictures:
    def test_ours_are_known_by_a_note_that_other_programs_can_read(self, tmp_path):
        path = tmp_path / "a.png"
        own_files.write_picture(path, picture(5, 7))
        assert own_files.is_own_picture(path)
        with Image.open(path) as image:
            assert image.text == {"Software": "lighthead"}
            assert np.array_equal(np.asarray(image), picture(5, 7))
        own_files.write_picture(path, picture(5, 7, seed=1))
        assert np.array_equal(np.asarray(Image.open(path)), picture(5, 7, seed=1))
        assert os.listdir(tmp_path) == ["a.png"]

    def test_others_are_not(self, tmp_path):
        own_files.write_picture(tmp_path / "own.png", picture(5, 7))
        own = (tmp_path / "own.png").read_bytes()
        for number, content in enumerate([b"", b"x", own[:40], own[1:], b"\xff" * 500]):
            path = tmp_path / f"{number}.png"
            path.write_bytes(content)
            with pytest.raises(UserError, match=f"{number}.png is there already"):
                own_files.write_picture(path, picture(5, 7))
            assert path.read_bytes() == content
        photograph(tmp_path / "photo.png")
        assert not own_files.is_own_picture(tmp_path / "photo.png")
        assert not own_files.is_own_picture(tmp_path)
        assert not own_files.is_own_picture(tmp_path / "missing.png")

    @posix
    def test_links_and_pipes_are_not(self, tmp_path):
        own_files.write_picture(tmp_path / "own.png", picture(5, 7))
        (tmp_path / "link.png").symlink_to("own.png")
        (tmp_path / "dangling.png").symlink_to("nowhere.png")
        (tmp_path / "loop.png").symlink_to("loop.png")
        os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
        for name in ("link.png", "dangling.png", "loop.png", "pipe.png"):
            with pytest.raises(UserError, match="is there already"):
                own_files.write_picture(tmp_path / name, picture(5, 7))
        assert not (tmp_path / "nowhere.png").exists()


def test_results_are_known_by_their_shape(tmp_path):
    path = tmp_path / "found.json"
    entry = {"image_id": 1, "category_id": 2, "bbox": [1.5, 2, 3, 4], "score": 0.5}
    for results in ([entry, entry], []):
        write_json(path, results)
        assert own_files.is_own_results(path)
    truth = {"image_id": 1, "id": 7, "category_id": 2, "bbox": [1, 2, 3, 4]}
    for other in ({"images": []}, [truth], [1], None, [[]]):
        write_json(path, other)
        assert not own_files.is_own_results(path)
    path.write_text(json.dumps([entry]))  # somebody else's results
    assert not own_files.is_own_results(path)


class TestDetect:
    def test_over_the_picture_itself(self, capsys, weights, tmp_path):
        mine = tmp_path / "mine"
        photo = photograph(mine / "photo.png")
        before = contents(tmp_path)
        line = complaint(capsys, "detect", "--weights", weights, photo, "--out", mine)
        assert f"--out {mine} holds photo.png itself" in line
        assert contents(tmp_path) == before

    def test_over_another_picture(self, capsys, weights, tmp_path):
        mine = tmp_path / "mine"
        photo, mask = photograph(tmp_path / "other.jpg"), photograph(mine / "other.jpg", 1)
        before = contents(tmp_path)
        line = complaint(capsys, "detect", "--weights", weights, photo, "--out", mine)
        assert str(mask) in line and "is there already" in line
        assert contents(tmp_path) == before

    @posix
    def test_through_links(self, capsys, weights, tmp_path):
        mine, out = tmp_path / "mine", tmp_path / "out"
        photo = photograph(mine / "photo.png")
        (tmp_path / "link").symlink_to(mine)
        out.mkdir()
        (out / "photo.png").symlink_to(photo)
        os.link(photograph(tmp_path / "far" / "b.png"), mine / "c.png")
        before = contents(tmp_path)
        for given, folder in [
            (photo, tmp_path / "link"),
            (tmp_path / "link" / "photo.png", mine),
            (photo, out),
            (tmp_path / "far" / "b.png", out / ".." / "far"),
            (photograph(tmp_path / "else" / "c.png"), mine),
        ]:
            complaint(capsys, "detect", "--weights", weights, given, "--out", folder)
        before["else/c.png"] = (tmp_path / "else" / "c.png").read_bytes()
        assert contents(tmp_path) == before
        assert (out / "photo.png").is_symlink()

    def test_every_name_that_it_could_want(self, capsys, weights, tmp_path):
        """Names of results, numbered ones, of temporary files: all that lies there stays."""
        out, given = tmp_path / "out", []
        for folder in ("cam1", "cam2", "cam3"):
            given.append(photograph(tmp_path / folder / "0001.jpg", len(given)))
        names = ["0001.jpg", "0001-2.jpg", "0001-3.jpg", "0001-4.jpg", "0001.png", "results.json"]
        names += ["detections.csv", "counts.csv"]
        names += [".0001.jpg.partial", ".results.json.partial", ".writable", "0001.JPG", "notes"]
        for free in [None, *names[:3]]:
            for name in names:
                if name != free:
                    photograph(out / "x.png").rename(out / name)
            before = contents(tmp_path)
            options = ["--out", out, "--json", out / "results.json"]
            line = complaint(capsys, "detect", "--weights", weights, *given, *options)
            assert "is there already" in line
            assert contents(tmp_path) == before
            (out / names[0]).unlink(missing_ok=True)
        for name in names[:3] + ["results.json", "0001.JPG", "detections.csv", "counts.csv"]:
            (out / name).unlink(missing_ok=True)
        before = contents(tmp_path)
        for _ in range(2):
            code, _, _ = run(capsys, "detect", "--weights", weights, *given, *options)
            assert code == 0
        after = contents(tmp_path)
        assert {name: after[name] for name in before} == before
        new = {"out/0001.jpg", "out/0001-2.jpg", "out/0001-3.jpg", "out/results.json"}
        new |= {"out/detections.csv", "out/counts.csv"}
        assert set(after) - set(before) == new

    def test_twice(self, capsys, weights, tmp_path):
        photo = photograph(tmp_path / "mine" / "photo.png")
        options = [photo, "--out", tmp_path / "out", "--json", tmp_path / "found.json"]
        assert run(capsys, "detect", "--weights", weights, *options, "--score", 1)[0] == 0
        first = contents(tmp_path)
        assert run(capsys, "detect", "--weights", weights, *options, "--score", 0)[0] == 0
        second = contents(tmp_path)
        tables = {"out/detections.csv", "out/counts.csv"}
        assert set(first) == set(second) == {
            "mine/photo.png", "out/photo.png", "found.json", *tables
        }  # fmt: skip
        assert first["mine/photo.png"] == second["mine/photo.png"]
        assert first["out/photo.png"] != second["out/photo.png"]

    def test_results_as_pictures_to_look_at(self, capsys, weights, tmp_path):
        """An earlier result may be replaced, but not by what is found in itself."""
        photo, out = photograph(tmp_path / "mine" / "photo.png"), tmp_path / "out"
        assert run(capsys, "detect", "--weights", weights, photo, "--out", out)[0] == 0
        before = contents(tmp_path)
        given = [out / "photo.png", "--out", out]
        assert "holds photo.png itself" in complaint(capsys, "detect", "--weights", weights, *given)
        assert contents(tmp_path) == before

    def test_a_folder_that_is_out_too(self, capsys, weights, tmp_path):
        photo = photograph(tmp_path / "mine" / "deep" / "photo.png")
        before = contents(tmp_path)
        for given in (tmp_path / "mine", photo.parent):
            line = complaint(
                capsys, "detect", "--weights", weights, given, "--out", tmp_path / "mine"
            )
            assert f"{given} is where results go" in line and "no picture" not in line
        assert contents(tmp_path) == before

    @posix
    def test_one_bad_picture_does_not_stop_the_others(self, capsys, weights, tmp_path):
        """Links that lead to themselves or nowhere, a pipe, and a picture like a hair."""
        folder, out = tmp_path / "mine", tmp_path / "out"
        photograph(folder / "a.png")
        photograph(folder / "z.png")
        (folder / "loop.jpg").symlink_to("loop.jpg")
        (folder / "nowhere.jpg").symlink_to("missing.jpg")
        (folder / "loop").symlink_to(".")
        os.mkfifo(folder / "pipe.jpg")
        Image.new("RGB", (3_100_000, 1)).save(folder / "hair.png")
        code, _, errors = run(
            capsys, "detect", "--weights", weights, folder, "--out", out, "--score", 0
        )
        assert code == 2
        lines = errors.splitlines()
        assert f"{folder / 'loop.jpg'} cannot be read" in errors
        for name in ("loop.jpg", "nowhere.jpg", "pipe.jpg"):
            assert sum(line.startswith("lighthead: ") and name in line for line in lines) == 1
        assert {"a.png", "z.png", "hair.png", "detections.csv", "counts.csv"} == set(
            os.listdir(out)
        )

    def test_equal_numbers(self, capsys, weights, tmp_path):
        given = [photograph(tmp_path / f"cam{k}" / "0001.jpg", k) for k in (1, 2)]
        found = tmp_path / "found.json"
        options = ["--out", tmp_path / "out", "--json", found]
        assert run(capsys, "detect", "--weights", weights, *given, *options)[0] == 0
        ids = {entry["file_name"]: entry["image_id"] for entry in json.loads(found.read_text())}
        assert ids == {str(given[0]): 1, str(given[1]): 2}
        assert run(capsys, "detect", "--weights", weights, given[1], *options)[0] == 0
        assert {entry["image_id"] for entry in json.loads(found.read_text())} == {1}


@pytest.mark.parametrize("command", ["detect", "evaluate"])
def test_where_the_results_cannot_go_is_found_first(capsys, tmp_path, monkeypatch, command):
    """Before the work: nothing has been looked at yet, nor any picture written."""
    work = LoadedDetector(model=None, classes=["a"], category_ids=[1], path=tmp_path / "w")
    monkeypatch.setattr(f"detector.commands.{command}.load_detector", lambda _: work)
    photo, out = photograph(tmp_path / "mine" / "photo.jpg"), tmp_path / "out"
    (tmp_path / "file").write_bytes(b"mine")
    options = [photo, "--out", out] if command == "detect" else ["--data", tmp_path]
    for path, words in [
        (tmp_path / "missing" / "found.json", "there is no folder"),
        (tmp_path / "file" / "found.json", "there is no folder"),
        (tmp_path / "file", "is there already"),
        (tmp_path, "is there already"),
    ]:
        line = complaint(capsys, command, "--weights", "w", *options, "--json", path)
        assert words in line and str(path) in line
    if command == "detect":
        line = complaint(capsys, "detect", "--weights", "w", photo, "--out", tmp_path / "file")
        assert "cannot write to" in line and "another --out" in line
        line = complaint(capsys, command, "--weights", "w", *options, "--json", out / "photo.jpg")
        assert "is the name of a picture" in line
        assert list(out.iterdir()) == []
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_names_that_not_every_system_tells_apart():
    files = [Path("a", "Photo.jpg"), Path("b", "photo.jpg"), Path("c", "photo-2.png")]
    files += [Path("ö.jpg"), Path("o\u0308.jpg")]
    names = validation.picture_names(files)
    assert names == ["Photo.png", "photo-2.png", "photo-2-2.png", "ö.png", "o\u0308-2.png"]
    assert validation.picture_names(files[:1], lambda name: "3" in name) == ["Photo-3.png"]


def test_examples_overwrite_neither_each_other_nor_anything_else(tmp_path):
    class Found:
        def predict(self, images):
            empty = np.zeros(0)
            return [{"boxes": np.zeros((0, 4)), "labels": empty, "scores": empty}] * len(images)

    class Pictures(list):
        classes = ["a"]
        images = [SimpleNamespace(path=Path(f"cam{k}", "0001.jpg")) for k in range(3)]

        def load(self, index):
            return picture(600, 500, index), {}

    photograph(tmp_path / "0001.png")
    before = contents(tmp_path)
    for _ in range(2):
        files = validation.write_examples(Found(), Pictures(range(3)), tmp_path)
        assert [file.name for file in files] == ["0001-2.png", "0001-3.png", "0001-4.png"]
        for index, file in enumerate(files):
            assert np.array_equal(np.asarray(Image.open(file)), picture(600, 500, index))
        assert contents(tmp_path)["0001.png"] == before["0001.png"]
        assert len(contents(tmp_path)) == 4


def test_shapes_are_drawn_over_shapes_only(tmp_path):
    write_shapes(tmp_path, train=2, val=1, image_size=64)
    before = contents(tmp_path)
    (tmp_path / "annotations" / "instances_val.json").unlink()  # as if stopped before the end
    write_shapes(tmp_path, train=2, val=1, image_size=64)
    assert contents(tmp_path) == before
    with pytest.raises(UserError, match="instances_train.json is there already"):
        write_shapes(tmp_path, train=3, val=1, image_size=64)
    assert contents(tmp_path) == before
    other = tmp_path / "other"
    photograph(other / "train" / "00001.png")
    before = contents(other)["train/00001.png"]
    with pytest.raises(UserError, match="00001.png is there already"):
        write_shapes(other, train=2, val=1, image_size=64)
    assert contents(other)["train/00001.png"] == before


def test_a_new_run_touches_nothing_that_is_hidden(tmp_path):
    (tmp_path / ".writable").write_bytes(b"mine")
    RunFolder(tmp_path).create()
    assert contents(tmp_path) == {".writable": b"mine"}


def test_field_cases_12(capsys, weights, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(field_case("12-output-over-input"), mine, copy_function=shutil.copyfile)
    before = contents(mine)
    line = complaint(capsys, "detect", "--weights", weights, mine / "photo.png", "--out", mine)
    assert "holds photo.png itself" in line and contents(mine) == before

    cameras, found = field_case("12-equal-numbers"), tmp_path / "found.json"
    options = ["--weights", weights, "--out", tmp_path / "out", "--json", found]
    assert run(capsys, "detect", cameras, *options)[0] == 0
    assert len({entry["image_id"] for entry in json.loads(found.read_text())}) == 4
