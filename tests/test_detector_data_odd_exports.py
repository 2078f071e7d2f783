"""Exports that are not quite as their tool's manual has them: the same boxes come out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint, run
from test_every_format import CLASSES, CONTENT, coco, save_picture, write, write_text, xml

from detector.datasets import csv_table, labelme, open_dataset, splits, usable
from detector.errors import UserError

# Without what is to be ignored, which only some formats can say, and without a picture of nothing,
# of which a table says nothing.
PICTURES = {
    name: [entry for entry in objects if not entry[2]]
    for pictures in CONTENT.values()
    for name, objects in pictures.items()
    if objects
}
SPLITS = {"train": {k: PICTURES[k] for k in "ab"}, "val": {"d": PICTURES["d"]}}


def save_all(folder: Path, names="abd") -> None:
    for name in names:
        save_picture(folder, name)


def rows(line: str) -> str:
    """``line`` for each box, with its corners and their parts of the picture filled in."""
    return "\n".join(
        line.format(
            name=name, label=label, x=x, y=y, x2=x2 + 1, y2=y2 + 1, w=x2 + 1 - x, h=y2 + 1 - y,
            px=x / 64, py=y / 48, px2=(x2 + 1) / 64, py2=(y2 + 1) / 48,
        )
        for name, objects in PICTURES.items()
        for label, (x, y, x2, y2), _ in objects
    )  # fmt: skip


def in_a_folder_of_the_archive(folder):
    write("YOLO", folder / "my-export.v3", SPLITS)


def a_val_that_is_not_there(folder):
    """Roboflow's, of a set without a split."""
    write("YOLO", folder, {"train": PICTURES})
    text = (folder / "data.yaml").read_text()
    write_text(folder / "data.yaml", text.replace("images/val", "../valid/images"))


def capitals(folder):
    write("YOLO", folder, {"train": PICTURES})
    for name in ("images", "labels"):
        (folder / name).rename(folder / name.title())
    (folder / "data.yaml").unlink()
    write_text(folder / "classes.txt", "\n".join(CLASSES))


def ids_of_text(folder):
    save_all(folder / "images")
    document = json.loads(coco(PICTURES))
    for entry in document["images"] + document["categories"]:
        entry["id"] = f"id {entry['id']}"
    for entry in document["annotations"]:
        entry["image_id"] = f"id {entry['image_id']}"
        entry["category_id"] = f"id {entry['category_id']}"
    write_text(folder / "result.json", json.dumps(document))


def annotations_inside_of_splits(folder):
    for split, pictures in SPLITS.items():
        save_all(folder / split / "images", pictures)
        write_text(folder / split / "annotations" / "instances_default.json", coco(pictures))


def a_named_file_in_a_folder_of_any_name(folder):
    save_all(folder / "images")
    write_text(folder / "boxes" / "mine.json", coco(PICTURES))
    return folder / "boxes" / "mine.json"


def label_studios_local_files(folder):
    save_all(folder / "photos")
    document = json.loads(coco(PICTURES))
    for entry in document["images"]:
        entry["file_name"] = rf"..\../data/local-files/?d=photos%5C{entry['file_name']}"
    write_text(folder / "result.json", json.dumps(document))


def voc(folder, pictures, annotations, photos, change=lambda text: text):
    save_all(folder / photos, pictures)
    for name, objects in pictures.items():
        write_text(folder / annotations / f"{name}.xml", change(xml(objects)))


def folders_of_any_name(folder):
    voc(folder, PICTURES, "boxes", "photos")


def pictures_beside_the_folder(folder):
    voc(folder, PICTURES, "xml", ".")


def voc_in_folders_of_splits(folder):
    for split, pictures in SPLITS.items():
        voc(folder / split, pictures, "annotations", "images")


def a_list_of_more_than_there_is(folder):
    voc(folder, PICTURES, "Annotations", "JPEGImages")
    for split, pictures in SPLITS.items():
        names = "\n".join([*pictures, f"gone_{split}"])
        write_text(folder / "ImageSets" / "Main" / f"{split}.txt", names)


def prefixes_of_a_namespace(folder):
    voc(folder, PICTURES, "Annotations", "JPEGImages",
        lambda text: text.replace("</", "#").replace("<", "<v:").replace("#", "</v:"))  # fmt: skip


def sizes_of_one_pixel(folder):
    def change(text):
        return text.replace("width>64<", "width>1<").replace("height>48<", "height>1<")

    voc(folder, PICTURES, "Annotations", "JPEGImages", change)


def labelme_apart_from_the_pictures(folder):
    write("LabelMe", folder, {"json": PICTURES})
    (folder / "photos").mkdir()
    for path in (folder / "json").glob("*.png"):
        path.rename(folder / "photos" / path.name)


def boxes_in_one_column(folder):
    save_all(folder / "images")
    line = '{name},64,48,"[{x}, {y}, {w}, {h}]",{label}'
    write_text(folder / "labels.csv", "image_id,width,height,bbox,label\n" + rows(line))


def open_images(folder):
    save_all(folder / "images")
    line = "{name},xclick,{label},1,{px},{px2},{py},{py2}"
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax\n"
    write_text(folder / "labels.csv", head + rows(line))


def a_table_from_windows(folder):
    save_all(folder / "images")
    text = "file;x1;y1;x2;y2;class;note\n" + rows("{name}.png;{x};{y};{x2};{y2};{label};Größe")
    (folder / "labels.csv").write_bytes(text.encode("cp1252"))


def a_named_table_in_a_folder(folder):
    save_all(folder / "images")
    write_text(folder / "a" / "b.csv", rows("{name}.png,{x},{y},{x2},{y2},{label}"))
    return folder / "a" / "b.csv"


def shapes_and_subsets_of_cvat(folder):
    """As a project's export has them; each kind of shape around the same boxes."""
    kinds = (
        '<polygon label="{l}" points="{a},{b};{c},{b};{c},{d};{a},{b}"/>',
        '<mask label="{l}" rle="1" left="{a}" top="{b}" width="{w}" height="{h}"/>',
        '<ellipse label="{l}" cx="{x}" cy="{y}" rx="{rx}" ry="{ry}"/>',
        '<box label="{l}" xtl="{ta}" ytl="{tb}" xbr="{tc}" ybr="{td}" rotation="90.00"/>',
    )
    text, count = "", 0
    for split, pictures in SPLITS.items():
        save_all(folder / "images" / split.title(), pictures)
        for name, objects in pictures.items():
            text += f'<image name="{name}.png" subset="{split.title()}"><tag label="x"/>'
            for label, (a, b, c, d), _ in objects:
                c, d = c + 1, d + 1
                x, y, w, h = (a + c) / 2, (b + d) / 2, c - a, d - b
                turned = {"ta": x - h / 2, "tb": y - w / 2, "tc": x + h / 2, "td": y + w / 2}
                text += kinds[count].format(
                    l=label, a=a, b=b, c=c, d=d, x=x, y=y, w=w, h=h, rx=w / 2, ry=h / 2, **turned
                )
                count += 1
            text += "</image>"
    write_text(folder / "annotations.xml", f"<annotations>{text}</annotations>")


EXPORTS = [
    shapes_and_subsets_of_cvat,
    in_a_folder_of_the_archive, a_val_that_is_not_there, capitals, ids_of_text,
    annotations_inside_of_splits, a_named_file_in_a_folder_of_any_name, label_studios_local_files,
    folders_of_any_name,
    pictures_beside_the_folder, voc_in_folders_of_splits, a_list_of_more_than_there_is,
    prefixes_of_a_namespace, sizes_of_one_pixel, labelme_apart_from_the_pictures,
    boxes_in_one_column, open_images, a_table_from_windows, a_named_table_in_a_folder,
]  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS)
def test_the_boxes_are_the_same(export, tmp_path):
    place = export(tmp_path) or tmp_path
    found = {}
    for split in splits(place):
        dataset = open_dataset(place, split)
        for index, record in enumerate(dataset.images):
            _, target = dataset.load(index)
            names = [dataset.classes[label - 1] for label in target["labels"]]
            found[record.path.stem] = sorted(zip(names, target["boxes"].tolist(), strict=True))
    assert sorted(found) == sorted(PICTURES)
    for name, objects in PICTURES.items():
        expected = sorted((label, [x, y, x2 + 1, y2 + 1]) for label, (x, y, x2, y2), _ in objects)
        assert [label for label, _ in found[name]] == [label for label, _ in expected]
        boxes = [[box for _, box in part] for part in (found[name], expected)]
        np.testing.assert_allclose(*boxes, atol=1e-4)


def test_what_another_tool_described_is_no_empty_picture(tmp_path):
    """Where a folder changed from one tool to another, one of the two formats is read."""
    write("VOC beside the pictures", tmp_path, {"all": {"a": PICTURES["a"]}})
    save_all(tmp_path / "all", "d")
    write_text(tmp_path / "all" / "d.txt", "1 0.5 0.5 0.25 0.25")
    write_text(tmp_path / "classes.txt", "\n".join(CLASSES))
    (split,) = splits(tmp_path)
    dataset = open_dataset(tmp_path, split)
    assert [record.path.stem for record in dataset.images] == ["d"]
    assert "it has no text file, but a.xml" in str(dataset.problems[0])


def test_lists_in_lists_are_no_names(tmp_path):
    """Each of a hundred bytes, and written out more than there is memory for."""
    write("YOLO", tmp_path, SPLITS)
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, next_one in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"{next_one}: &{next_one} [{', '.join([f'*{one}'] * 9)}]\n"
    write_text(tmp_path / "data.yaml", f"{bomb}train: images/train\nval: images/val\nnames: [*i]\n")
    with pytest.raises(UserError, match="each of 'names' must be a text"):
        open_dataset(tmp_path, "train")


def test_every_picture_is_decoded_once(capsys, monkeypatch, tmp_path):
    write("COCO", tmp_path, SPLITS)
    count = Counter()

    def counted(path, opened=usable.open_image):
        count[path.name] += 1
        return opened(path)

    monkeypatch.setattr(usable, "open_image", counted)
    code, _, errors = run(
        capsys, "check-data", "--data", tmp_path, "--preset", "tiny", "--no-timing"
    )
    assert code == 0, errors
    assert count == {"a.png": 1, "b.png": 1, "d.png": 1}


@pytest.mark.parametrize(
    ("layout", "module", "name"),
    [("CSV", csv_table, "lines_of"), ("LabelMe", labelme, "read_document")],
)
def test_every_file_is_read_once(monkeypatch, tmp_path, layout, module, name):
    """For the classes, which are those of all splits, and for the boxes of each."""
    write(layout, tmp_path, SPLITS)
    count, read = Counter(), getattr(module, name)

    def counted(path):
        count[path] += 1
        return read(path)

    monkeypatch.setattr(module, name, counted)
    readers = getattr(module, f"{layout.lower()}_splits")(tmp_path)
    assert [len(readers[split]()) for split in SPLITS] == [2, 1]
    assert set(count.values()) == {1}


CVAT_FAULTS = {
    '<box label="cat" xtl="1" ytl="1" xbr="9"/>': "box must have finite numbers",
    '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="nan"/>': "box must have finite numbers",
    '<box xtl="1" ytl="1" xbr="9" ybr="9"/>': "the label of a shape is missing",
    '<box label="cat" xtl="9" ytl="1" xbr="1" ybr="9"/>': "a.png",
    '<polygon label="cat" points=""/>': "polygon must have finite numbers",
    '<polygon label="cat" points="x,y"/>': "polygon must have finite numbers",
    '<polygon label="cat" points="1,2,3;4"/>': "polygon must have finite numbers",
    '<mask label="cat" left="1" width="3" height="3"/>': "mask must have finite numbers",
    '<ellipse label="cat"/>': "ellipse must have finite numbers",
}


@pytest.mark.parametrize("shape", CVAT_FAULTS)
def test_faults_of_cvats_files_are_one_line(capsys, tmp_path, shape):
    save_all(tmp_path, "a")
    text = f'<annotations><image name="a.png">{shape}</image></annotations>'
    write_text(tmp_path / "annotations.xml", text)
    line = complaint(capsys, "train", "--data", tmp_path, "--preset", "tiny")
    assert str(tmp_path / "annotations.xml") in line and CVAT_FAULTS[shape] in line


def test_points_of_cvat_are_left_out_and_named(tmp_path):
    save_all(tmp_path, "a")
    shapes = '<points label="cat" points="1,2"/><box label="dog" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    text = f'<annotations><image name="a.png">{shapes}</image></annotations>'
    write_text(tmp_path / "annotations.xml", text)
    dataset = open_dataset(tmp_path, "all")
    assert "points is no box (left out)" in str(dataset.problems[0])
    assert dataset.target(0)["boxes"].tolist() == [[1, 1, 9, 9]]
