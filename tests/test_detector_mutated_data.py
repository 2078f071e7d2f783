"""Data sets that something has damaged: whatever it is, a command ends well or with one line.

Each seed damages a small sound data set in one to three ways and runs the commands on it.
"""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from field_cases import QUICK, run
from PIL import Image
from small_data_set import annotation, picture, voc_object, voc_xml

import lighthead

BOXES = [[4, 5, 30, 20], [10, 8, 24, 30], [2, 2, 12, 40], [20, 10, 40, 30]]
JUNK = [None, True, -1, 0, 3.7, 1e300, 10**30, float("nan"), "", "x", "12", "\ud800", "\0", "螺栓"]
JUNK += ["../../etc/passwd", "a" * 300, [], [[]], {}, [1, 2], [0.1, 0.2, 0.3, 0.4], {"id": 1}]
ODD_NAMES = ["-rf", "ü\u0308", "%20", "a b\tc", "'", "x" * 200, "?", "COM1", "{}", "#1", "a.b.c"]
ODD_NAMES += ["\N{BELL}", "\u202e", "~"]


def make_coco(folder):
    """Four pictures to learn from and two to measure with."""
    (folder / "annotations").mkdir(parents=True)
    for split, numbers in {"train": range(1, 5), "val": range(5, 7)}.items():
        (folder / split).mkdir()
        for number in numbers:
            Image.fromarray(picture(seed=number)).save(folder / split / f"{number}.png")
        document = {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in numbers
            ],
            "categories": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}],
            "annotations": [
                annotation(10 * n + k, n, k, BOXES[(n + k) % 4], area=9.5, iscrowd=0)
                for n in numbers
                for k in (1, 2)
            ],
        }
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(document), encoding="utf-8")


def make_voc(folder):
    (folder / "Annotations").mkdir(parents=True)
    (folder / "JPEGImages").mkdir()
    for number in range(1, 7):
        x, y, width, height = BOXES[number % 4]
        objects = voc_object("bolt", (x, y, x + width, y + height), difficult=number % 2)
        objects += voc_object("nut", (3, 4, 40, 30))
        path = folder / "Annotations" / f"{number}.xml"
        path.write_text(voc_xml(objects, name=f"{number}.png"), encoding="utf-8")
        Image.fromarray(picture(seed=number)).save(folder / "JPEGImages" / f"{number}.png")


def numbered(folder, place):
    """Six pictures at ``place``, four to learn from; yields (split, number, file)."""
    for number in range(1, 7):
        split = "train" if number <= 4 else "val"
        path = folder / place.format(split=split, number=number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed=number)).save(path)
        yield split, number, path


def make_yolo(folder):
    for split, number, _ in numbered(folder, "images/{split}/{number}.png"):
        lines = []
        for k in (0, 1):
            x, y, width, height = BOXES[(number + k) % 4]
            numbers = (x + width / 2) / 64, (y + height / 2) / 48, width / 64, height / 48
            lines.append(f"{k} " + " ".join(f"{value:.5f}" for value in numbers))
        path = folder / "labels" / split / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
    text = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: bolt\n  1: nut\n"
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def make_labelme(folder):
    for _, number, path in numbered(folder, "{split}/{number}.png"):
        shapes = []
        for k, name in enumerate(("bolt", "nut")):
            x, y, width, height = BOXES[(number + k) % 4]
            points = [[x, y], [x + width, y + height]]
            shapes.append({"label": name, "points": points, "shape_type": "rectangle"})
        document = {"version": "5.4.1", "shapes": shapes, "imagePath": path.name}
        path.with_suffix(".json").write_text(json.dumps(document), encoding="utf-8")


def make_csv(folder):
    rows = {"train": [], "val": []}
    for split, number, path in numbered(folder, "images/{number}.png"):
        for k, name in enumerate(("bolt", "nut")):
            x, y, width, height = BOXES[(number + k) % 4]
            rows[split].append(f"{path.name},64,48,{name},{x},{y},{x + width},{y + height}")
    for split, lines in rows.items():
        text = "\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *lines])
        (folder / f"{split}_labels.csv").write_text(text, encoding="utf-8")


def make_cvat(folder):
    images = {"train": "", "val": ""}
    for split, number, path in numbered(folder, "images/{number}.png"):
        shapes = ""
        for k, name in enumerate(("bolt", "nut")):
            x, y, width, height = BOXES[(number + k) % 4]
            ends = f'xtl="{x}" ytl="{y}" xbr="{x + width}" ybr="{y + height}"'
            shapes += f'<box label="{name}" {ends}></box>'
        images[split] += f'<image name="{path.name}">{shapes}</image>'
    for split, text in images.items():
        (folder / f"{split}.xml").write_text(f"<annotations>{text}</annotations>", encoding="utf-8")


MAKERS = [make_coco, make_voc, make_yolo, make_labelme, make_csv, make_cvat]
ANNOTATIONS = (".json", ".xml", ".txt", ".csv", ".yaml")


def files(folder, *suffixes):
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())


def some(rng, things):
    return things[int(rng.integers(len(things)))]


def places(value, path=()):
    """Every place in a JSON document, as the keys that lead there."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def change_value(folder, rng):
    """A value anywhere in the JSON, an element's text in the XML or a word elsewhere becomes junk
    or goes."""
    path = some(rng, files(folder, *ANNOTATIONS))
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix in (".txt", ".csv", ".yaml"):
        words = re.split(r"([ ,:\n])", text)
        words[int(rng.integers(len(words)))] = str(some(rng, JUNK))
        path.write_text("".join(words).encode(errors="replace").decode(), encoding="utf-8")
        return
    if path.suffix == ".xml":
        start = int(rng.integers(max(len(text) - 1, 1)))
        junk = str(some(rng, JUNK)).encode(errors="replace").decode()
        end = text.find("<", start)
        path.write_text(text[: text.rfind(">", 0, start) + 1] + junk + text[end:], encoding="utf-8")
        return
    try:
        document = json.loads(text)
    except ValueError:
        return
    found = list(places(document)) if isinstance(document, dict | list) else []
    if not found:
        return
    *way, last = some(rng, found)
    holder = document
    for key in way:
        holder = holder[key]
    if rng.random() < 0.2:
        del holder[last]
    else:
        holder[last] = some(rng, JUNK)
    path.write_text(json.dumps(document), encoding="utf-8")


def change_a_field_everywhere(folder, rng):
    for path in files(folder, ".json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        key, field = some(
            rng,
            [("images", "file_name"), ("images", "width"), ("images", "id"), ("categories", "name"),
             ("annotations", "id"), ("annotations", "bbox"), ("annotations", "area"),
             ("annotations", "iscrowd"), ("annotations", "category_id")],
        )  # fmt: skip
        junk = some(rng, [*JUNK, 1, [0, 0, 1e-9, 1e-9], [63.5, 47.5, 9, 9]])
        if isinstance(document, dict) and isinstance(document.get(key), list):
            for entry in document[key]:
                if isinstance(entry, dict):
                    entry[field] = junk
        path.write_text(json.dumps(document), encoding="utf-8")


def cut_annotations(folder, rng):
    path = some(rng, files(folder, *ANNOTATIONS))
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(len(content) + 1))])


def flip_bytes(folder, rng):
    path = some(rng, files(folder, *ANNOTATIONS, ".png"))
    content = bytearray(path.read_bytes())
    for _ in range(min(3, len(content))):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    path.write_bytes(content)


def lose_a_file(folder, rng):
    some(rng, files(folder, *ANNOTATIONS, ".png")).unlink()


def spoil_a_picture(folder, rng):
    path = some(rng, files(folder, ".png"))
    kind = int(rng.integers(7))
    size = [(1, 1), (20_000, 1), (64, 48)][kind % 3]
    path.unlink()
    if kind == 0:
        path.write_bytes(b"")
    elif kind == 1:
        path.symlink_to(path.name)
    elif kind == 2:
        path.mkdir()
    else:
        mode = ["L", "RGBA", "I;16", "F"][kind - 3]
        Image.new(mode, size).save(path, "TIFF")


def rename_a_picture(folder, rng):
    """An odd name, which the JSON knows or does not."""
    pictures = files(folder, ".png")
    path, name = some(rng, pictures), some(rng, ODD_NAMES) + ".png"
    path.rename(path.with_name(name))
    for document in files(folder, ".json") if rng.random() < 0.5 else ():
        text = document.read_text(encoding="utf-8", errors="replace")
        document.write_text(text.replace(f'"{path.name}"', json.dumps(name)), encoding="utf-8")


def add_strays(folder, rng):
    for place in [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]:
        name = some(
            rng, ["._1.xml", "._1.png", "instances_.json", "Thumbs.db", "x.xml", "__MACOSX"]
        )
        (place / name).write_bytes(some(rng, [b"", b"\0\5\x16\7", b"{}", b"<a/>"]))


def add_a_list(folder, rng):
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    lines = some(rng, [["1", "2"], ["1.png 1"], ["\0"], ["../1", "1" * 300], ["a/1\\2"], ["9"], []])
    path = folder / "ImageSets" / "Main" / some(rng, ["train.txt", "val.txt", "x_train.txt"])
    path.write_bytes("\n".join(lines).encode() + some(rng, [b"", b"\xff\xfe", b"\r\n"]))


MUTATIONS = [change_value] * 3 + [change_a_field_everywhere, cut_annotations, flip_bytes]
MUTATIONS += [lose_a_file, spoil_a_picture, rename_a_picture, add_strays, add_a_list]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A detector of both classes."""
    folder = tmp_path_factory.mktemp("sound")
    make_coco(folder / "data")
    arguments = ["train", "--data", str(folder / "data"), "--out", str(folder / "run"), *QUICK]
    assert lighthead.main(arguments) == 0
    return folder / "run"


def damaged(folder, seed):
    """A damaged data set, and the names of what was done to it."""
    rng = np.random.default_rng(seed)
    MAKERS[seed % len(MAKERS)](folder)
    done = []
    for _ in range(int(rng.integers(1, 4))):
        mutation = some(rng, MUTATIONS)
        try:
            mutation(folder, rng)
            done.append(mutation.__name__)
        except (IndexError, ValueError, OSError):  # nothing left to be damaged in this way
            continue
    return done


SEEDS = [*range(40), *(pytest.param(seed, marks=pytest.mark.nightly) for seed in range(40, 240))]


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_end_well_or_with_one_line(capsys, tmp_path, sound, seed):
    data, out = tmp_path / "data", tmp_path / "run"
    done = damaged(data, seed)
    commands = [
        ["check-data", "--data", data, "--no-timing", *QUICK],
        ["train", "--data", data, "--out", out, *QUICK],
        ["evaluate", "--data", data, "--weights", sound],
        ["detect", data, "--weights", sound, "--out", tmp_path / "found"],
    ]
    codes = {}
    for command in commands:
        codes[command[0]], _, errors = run(capsys, *command)
        assert codes[command[0]] in (0, 2), (done, command, errors)
        assert "Traceback" not in errors and (codes[command[0]] == 0 or "lighthead: " in errors)
    # What check-data finds in order, train learns from.
    if codes["check-data"] == 0:
        assert codes["train"] == 0, done
    if (out / "best.ckpt").exists():
        assert run(capsys, "evaluate", "--data", data, "--weights", out)[0] in (0, 2)
    shutil.rmtree(data)
