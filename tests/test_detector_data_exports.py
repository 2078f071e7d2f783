"""Folders as annotation tools write them, by their own documentation: YOLO, COCO, LabelMe, CSV.

Every layout holds the same pictures and boxes, which must come out to the unit.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image
from small_data_set import picture, voc_object, voc_xml

from detector.datasets import DatasetError, open_dataset, read_dataset, splits
from detector.datasets.layout import seen_line
from detector.datasets.problems import left_out
from detector.datasets.splitting import set_aside
from detector.errors import UserError
from detector.training.sessions import choose_splits

CLASSES = ["cat", "dog"]
# Pictures of 64 x 48 with (class, x1, y1, x2, y2) in pixels; numbers that YOLO's six digits keep.
PICTURES = {
    "a": [(0, 8, 6, 40, 30)],
    "b": [(1, 0, 0, 64, 48), (0, 16, 12, 32, 24)],
    "c": [],
    "d": [(1, 32, 24, 48, 36)],
}
SPLIT = {"a": "train", "b": "train", "c": "train", "d": "val"}


def refused(capsys, folder: Path) -> str:
    """The one line about the data set in ``folder/data``."""
    return complaint(
        capsys, "train", "--data", folder / "data", "--preset", "tiny", "--out", folder / "run"
    )


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed=seed)).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def yolo_line(label: int, x1: float, y1: float, x2: float, y2: float) -> str:
    numbers = (x1 + x2) / 128, (y1 + y2) / 96, (x2 - x1) / 64, (y2 - y1) / 48
    return " ".join([str(label), *(f"{number:.6f}" for number in numbers)])


def yolo(folder: Path, pictures: str, labels: str, write=yolo_line) -> None:
    """Pictures and text files at places with {split} and {name} in them."""
    for seed, (name, boxes) in enumerate(PICTURES.items()):
        words = {"split": SPLIT[name], "name": name, "valid": SPLIT[name].replace("val", "valid")}
        save(folder / (pictures.format(**words) + ".png"), seed)
        lines = [write(*box) for box in boxes]
        text(folder / (labels.format(**words) + ".txt"), "\n".join(lines) + "\n")


def ultralytics(folder):
    yolo(folder, "images/{split}/{name}", "labels/{split}/{name}")
    text(
        folder / "data.yaml",
        "path: ../datasets/mine  # of another machine\ntrain: images/train\nval: images/val\n"
        "test:\n\nnames:\n  0: cat\n  1: dog\n",
    )


def without_configuration(folder):
    yolo(folder, "images/{split}/{name}", "labels/{split}/{name}")
    text(folder / "classes.txt", "cat\ndog\n")


def roboflow(folder):
    yolo(folder, "{valid}/images/{name}", "{valid}/labels/{name}")
    text(
        folder / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\n"
        "names: ['cat', 'dog']\nroboflow:\n  workspace: w\n",
    )
    text(folder / "README.roboflow.txt", "exported")


def polygons(folder):
    def outline(label, x1, y1, x2, y2):
        points = [(x1, y1), (x2, y1), (x2, (y1 + y2) / 2), (x2, y2), (x1, y2)]
        return f"{label} " + " ".join(f"{x / 64:.6f} {y / 48:.6f}" for x, y in points)

    yolo(folder, "images/{split}/{name}", "labels/{split}/{name}", outline)
    text(folder / "classes.txt", "cat\ndog\n")


def keypoints(folder):
    def pose(*box):
        return yolo_line(*box) + " 0.5 0.5 2 0.25 0.25 1"

    yolo(folder, "images/{split}/{name}", "labels/{split}/{name}", pose)
    text(
        folder / "dataset.yaml",
        "train: images/train\nval: images/val\nkpt_shape: [2, 3]\nnames: {0: cat, 1: dog}\n",
    )


def lists_of_pictures(folder):
    yolo(folder, "images/{name}", "labels/{name}")
    for split in ("train", "val"):
        names = [name for name in PICTURES if SPLIT[name] == split]
        text(folder / f"{split}.txt", "".join(f"./images/{name}.png\n" for name in names))
    text(folder / "data.yaml", "train: train.txt\nval: val.txt\nnames: [cat, dog]\n")


def cvat_yolo(folder):
    """CVAT's YOLO 1.1, two subsets."""
    yolo(folder, "obj_{split}_data/{name}", "obj_{split}_data/{name}")
    (folder / "obj_val_data").rename(folder / "obj_valid_data")
    for split, place in (("train", "obj_train_data"), ("valid", "obj_valid_data")):
        names = [name for name in PICTURES if SPLIT[name].startswith(split[:3])]
        text(folder / f"{split}.txt", "".join(f"data/{place}/{name}.png\n" for name in names))
    text(folder / "obj.names", "cat\ndog\n")
    text(
        folder / "obj.data",
        "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n"
        "backup = backup/\n",
    )


def coco_document(names, file_name="{name}.png", **more) -> dict:
    images, annotations = [], []
    for number, name in enumerate(names):
        image = {"id": number, "file_name": file_name.format(name=name), "width": 64, "height": 48}
        images.append(image)
        for label, x1, y1, x2, y2 in PICTURES[name]:
            entry = {"id": len(annotations), "image_id": number, "category_id": label}
            annotations.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1], **more})
    categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def of_split(split):
    return [name for name in PICTURES if SPLIT[name] == split]


def cvat_coco(folder):
    for split in ("train", "val"):
        text(
            folder / "annotations" / f"instances_{split}.json",
            json.dumps(coco_document(of_split(split))),
        )
    for seed, name in enumerate(PICTURES):
        save(folder / "images" / SPLIT[name] / f"{name}.png", seed)


def any_names(folder):
    for split in ("train", "val"):
        text(folder / f"my_{split}_set.json", json.dumps(coco_document(of_split(split))))
    for seed, name in enumerate(PICTURES):
        save(folder / "photos" / f"{name}.png", seed)


def ids_as_text(folder):
    any_names(folder)
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text())
        for key in ("images", "annotations", "categories"):
            for entry in document[key]:
                for field in [f for f in entry if f == "id" or f.endswith("_id")]:
                    entry[field] = str(entry[field])
        path.write_text(json.dumps(document))


def labelme(folder):
    for seed, (name, boxes) in enumerate(PICTURES.items()):
        place = folder / SPLIT[name]
        save(place / f"{name}.png", seed)
        shapes = [
            {"label": CLASSES[k], "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"}
            if k == 0
            else {"label": CLASSES[k], "points": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]}
            for k, x1, y1, x2, y2 in boxes
        ]
        document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imageData": None}
        document["imagePath"] = f"..\\elsewhere\\{name}.png"
        text(place / f"{name}.json", json.dumps(document))


def tensorflow_csv(folder):
    for split in ("train", "val"):
        rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for name in of_split(split):
            rows += [f"{name}.png,64,48,{CLASSES[k]},{a},{b},{c},{d}" for k, a, b, c, d in
                     PICTURES[name]] or [f"{name}.png,64,48,,,,,"]  # fmt: skip
        text(folder / f"{split}_labels.csv", "\n".join(rows))
    for seed, name in enumerate(PICTURES):
        save(folder / "images" / f"{name}.png", seed)


def plain_csv(folder):
    """keras-retinanet's, without a line of names; with a mark of the byte order."""
    for split in ("train", "val"):
        rows = []
        for name in of_split(split):
            rows += [f"{name}.png,{a},{b},{c},{d},{CLASSES[k]}" for k, a, b, c, d in
                     PICTURES[name]] or [f"{name}.png,,,,,"]  # fmt: skip
        text(folder / f"{split}.csv", "\ufeff" + "\n".join(rows))
    for seed, name in enumerate(PICTURES):
        save(folder / "pictures" / f"{name}.png", seed)


def semicolons_and_sizes(folder):
    for split in ("train", "val"):
        rows = ["image;label;x;y;w;h"]
        for name in of_split(split):
            rows += [f"{name};{CLASSES[k]};{a};{b};{c - a};{d - b}" for k, a, b, c, d in
                     PICTURES[name]] or [f"{name};;;;;"]  # fmt: skip
        text(folder / f"{split}.csv", "\n".join(rows))
    for seed, name in enumerate(PICTURES):
        save(folder / "images" / f"{name}.png", seed)


def voc_devkit(folder):
    for seed, (name, boxes) in enumerate(PICTURES.items()):
        objects = [
            voc_object(CLASSES[k], (x1 + 1, y1 + 1, x2, y2), 0) for k, x1, y1, x2, y2 in boxes
        ]
        base = folder / "VOCdevkit" / "VOC2007"
        text(base / "Annotations" / f"{name}.xml", voc_xml("".join(objects)))
        save(base / "JPEGImages" / f"{name}.png", seed)
    for split in ("train", "val"):
        text(base / "ImageSets" / "Main" / f"{split}.txt", "\n".join(of_split(split)))


def supervision_voc(folder):
    """Small letters; the names of classes in a file that names no pictures."""
    voc_devkit(folder)
    base = folder / "VOCdevkit" / "VOC2007"
    (base / "Annotations").rename(folder / "annotations")
    (base / "JPEGImages").rename(folder / "images")
    (base / "ImageSets").rename(folder / "ImageSets")
    (folder / "VOCdevkit" / "VOC2007").rmdir()


def supervision_yolo(folder):
    yolo(folder, "images/{split}/{name}", "labels/{split}/{name}")
    text(folder / "data.yaml", "nc: 2\nnames: [cat, dog]\n")


EXPORTS = [
    supervision_voc, supervision_yolo,
    ultralytics, without_configuration, roboflow, polygons, keypoints, lists_of_pictures,
    cvat_yolo, cvat_coco, any_names, ids_as_text, labelme, tensorflow_csv, plain_csv,
    semicolons_and_sizes, voc_devkit,
]  # fmt: skip


@pytest.mark.parametrize("export", EXPORTS)
def test_the_boxes_come_out_to_the_unit(export, tmp_path):
    export(tmp_path)
    for split in ("train", "val"):
        dataset = open_dataset(tmp_path, split)
        assert dataset.classes == CLASSES and left_out(dataset.problems) == ""
        assert [record.path.stem for record in dataset.images] == of_split(split)
        for index, name in enumerate(of_split(split)):
            image, target = dataset.load(index)
            np.testing.assert_array_equal(image, picture(seed=list(PICTURES).index(name)))
            wanted = np.reshape([box[1:] for box in PICTURES[name]], (-1, 4))
            np.testing.assert_allclose(target["boxes"], wanted, atol=1e-4)
            assert [label - 1 for label in target["labels"]] == [box[0] for box in PICTURES[name]]


@pytest.mark.parametrize("export", [ultralytics, roboflow, labelme, tensorflow_csv, any_names])
def test_it_trains_and_evaluates(export, tmp_path, capsys):
    export(tmp_path / "data")
    options = ["--preset", "tiny", "--short-side", "32", "--epochs", "1", "--crop-iterations", "0"]
    code, _, errors = run(
        capsys, "train", "--data", tmp_path / "data", "--out", tmp_path / "run", *options
    )
    assert code == 0, errors
    code, shown, errors = run(
        capsys, "evaluate", "--data", tmp_path / "data", "--weights", tmp_path / "run"
    )
    assert code == 0 and "AP50" in shown, errors


def test_a_configuration_named_on_the_command_line(tmp_path):
    roboflow(tmp_path)
    assert splits(tmp_path / "data.yaml") == ["train", "val"]
    assert len(open_dataset(tmp_path / "data.yaml", "train")) == 3
    remarks = [str(problem) for problem in read_dataset(tmp_path, "train").problems]
    assert any("val ../valid/images is not there: taking valid/images" in line for line in remarks)


def test_a_configuration_far_from_its_pictures(tmp_path):
    yolo(tmp_path / "far" / "set", "images/{split}/{name}", "labels/{split}/{name}")
    content = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
    text(
        tmp_path / "deep" / "mine" / "a.yaml",
        f"path: {(tmp_path / 'far' / 'set').as_posix()}\n{content}",
    )
    assert len(open_dataset(tmp_path / "deep" / "mine" / "a.yaml", "train")) == 3
    # A folder that came from somewhere may not point elsewhere.
    with pytest.raises(UserError, match="is not there"):
        open_dataset(tmp_path / "deep" / "mine", "train")


@pytest.mark.parametrize("name", ["result.json", "annotations/anything.json"])
def test_one_file_with_everything(tmp_path, name):
    text(tmp_path / name, json.dumps(coco_document(PICTURES, "C:\\up\\{name}.png")))
    for seed, picture_name in enumerate(PICTURES):
        save(tmp_path / "images" / f"{picture_name}.png", seed)
    for place in (tmp_path, tmp_path / name):
        (split,) = splits(place)
        assert len(open_dataset(place, split)) == 4


def many(folder: Path, count: int = 20) -> Path:
    """Numbered pictures in YOLO's format, without a split; the last two are copies."""
    for k in range(count):
        save(folder / "images" / f"{k:02}.png", min(k, count - 3))
        text(folder / "labels" / f"{k:02}.txt", yolo_line(0, 8, 6, 40, 30))
    text(folder / "classes.txt", "cat\n")
    return folder


def test_a_fifth_is_set_aside_where_there_is_no_val(tmp_path):
    folder = many(tmp_path / "mine")
    train, val = choose_splits(str(folder), None, None)
    sets = {split: open_dataset(folder, split) for split in (train, val)}
    names = [{record.path.name for record in dataset.images} for dataset in sets.values()]
    assert not names[0] & names[1] and len(names[0] | names[1]) == 20 and 4 <= len(names[1]) <= 6
    copies = {"17.png", "18.png", "19.png"}
    assert copies <= names[0] or copies <= names[1]
    line = seen_line(str(folder), train, *sets.values())
    assert line.endswith(
        f"mine: YOLO, 20 pictures, 1 class; no val split, so {len(names[1])} are set "
        "aside by their names"
    )
    # Another copy of the folder, and one more picture, leave the others where they are.
    again = many(tmp_path / "again", 20)
    save(again / "images" / "new.png", 99)
    text(again / "labels" / "new.txt", yolo_line(0, 8, 6, 40, 30))
    _, other = set_aside(read_dataset(again, "all"))
    assert len({record.path.name for record in other.images} ^ names[1]) <= 2


def test_copies_that_roboflow_makes_stay_together(tmp_path):
    for k in range(10):
        for copy in "xyz":
            save(tmp_path / "train" / "images" / f"p{k}_jpg.rf.{copy * 8}.png", 10 * k + ord(copy))
            text(
                tmp_path / "train" / "labels" / f"p{k}_jpg.rf.{copy * 8}.txt",
                yolo_line(0, 8, 6, 9, 9),
            )
    text(tmp_path / "data.yaml", "train: train/images\nval: valid/images\nnames: [cat]\n")
    (tmp_path / "valid" / "images").mkdir(parents=True)
    train, val = (
        {record.path.name.partition(".rf.")[0] for record in dataset.images}
        for dataset in set_aside(read_dataset(tmp_path, "train"))
    )
    assert len(train) == 8 and len(val) == 2 and not train & val


BROKEN_LINES = {
    "7 0.5 0.5 0.1 0.1": "class 7, but classes.txt names 0 to 1",
    "-1 0.5 0.5 0.1 0.1": "class -1",
    "0 0.5 0.5 412 0.1": "width 412: YOLO's numbers are parts of the picture, 0 to 1",
    "0 320 0.5 0.1 0.1": "x 320",
    "0 0.5 0.5 -0.1 0.1": "width -0.1",
    "0 0.5 0.5 0.1": "3 numbers after the class",
    "0 nan 0.5 0.1 0.1": "'nan' is no finite number",
    "0 1e999 0.5 0.1 0.1": "'1e999' is no finite number",
    "0 0.5 0.5 0.1 0.1x": "'0.1x' is no finite number",
    "cat 0.5 0.5 0.1 0.1": "the number of a class, not 'cat'",
    "0.5 0.5 0.5 0.1 0.1": "the number of a class, not '0.5'",
    "0 0.1 0.1 0.2 0.1 0.2 0.2 0.3": "7 numbers after the class",
}


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_broken_lines_of_yolo(tmp_path, capsys, line):
    without_configuration(tmp_path / "data")
    text(tmp_path / "data" / "labels" / "train" / "a.txt", f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    shown = refused(capsys, tmp_path)
    assert "a.txt: line 3: " in shown and BROKEN_LINES[line] in shown


def test_all_mistakes_of_yolo_at_once(tmp_path):
    without_configuration(tmp_path)
    text(tmp_path / "labels" / "train" / "a.txt", "\n".join(BROKEN_LINES))
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path, "train")
    assert len(caught.value.problems) == len(BROKEN_LINES)


BROKEN_CONFIGURATIONS = {
    "names: [cat, dog\ntrain: images/train": "is not valid YAML in line",
    "names: [cat, cat]\ntrain: images/train": "two classes are called 'cat'",
    "names: {0: cat, x: dog}\ntrain: images/train": "'names' must give a name to each number",
    "names: 3\ntrain: images/train": "'names' must be the list",
    "names: lost.names\ntrain: images/train": "there is no file lost.names",
    "names: [cat, dog]\ntrain: nowhere": "train nowhere is not there",
    "names: [cat, dog]\ntrain: [3]": "'train' must name a folder",
    "names: [cat, dog]\ntrain: labels": "names no folder with pictures",
    "names: []\ntrain: images/train": "'names' must be the list",
    "names: [cat, dog]\ntrain: /etc": "is not there",
}


@pytest.mark.parametrize("content", BROKEN_CONFIGURATIONS)
def test_broken_configurations_of_yolo(tmp_path, capsys, content):
    without_configuration(tmp_path / "data")
    text(tmp_path / "data" / "data.yaml", content)
    shown = refused(capsys, tmp_path)
    assert "data.yaml" in shown and BROKEN_CONFIGURATIONS[content] in shown


def change_shape(**fields):
    def change(document):
        document["shapes"][0].update(fields)

    return change


BROKEN_LABELME = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:150]),
    "no list": lambda path: path.write_text('{"shapes": 3, "imagePath": "a.png"}'),
    "no object": lambda path: path.write_text('{"shapes": [7], "imagePath": "a.png"}'),
}
BROKEN_SHAPES = {
    "no label": change_shape(label=None),
    "blank label": change_shape(label=" "),
    "no points": change_shape(points=None),
    "words": change_shape(points=[["x", 1], [2, 3]]),
    "infinite": change_shape(points=[[1e999, 1], [2, 3]]),
    "triples": change_shape(points=[[1, 2, 3], [2, 3, 4]]),
    "empty": change_shape(points=[]),
}


@pytest.mark.parametrize("case", [*BROKEN_LABELME, *BROKEN_SHAPES])
def test_broken_files_of_labelme(tmp_path, capsys, case):
    labelme(tmp_path / "data")
    path = tmp_path / "data" / "train" / "a.json"
    if case in BROKEN_LABELME:
        BROKEN_LABELME[case](path)
    else:
        document = json.loads(path.read_text())
        BROKEN_SHAPES[case](document)
        path.write_text(json.dumps(document))
    shown = refused(capsys, tmp_path)
    assert "a.json" in shown


BROKEN_ROWS = {
    "a.png,64,48,cat,1,2": "has 6 columns, not 8",
    "a.png,64,48,cat,1,2,x,30": "'x' is no finite number",
    "a.png,64,48,cat,1,2,nan,30": "'nan' is no finite number",
    "a.png,64,48,cat,1,2,,30": "'' is no finite number",
    "a.png,64,48,,1,2,20,30": "the name of its class is missing",
    "a.png,64,48,cat,20,2,1,30": "its width is negative",
    "a.png,64,48,cat,1,30,20,2": "its height is negative",
    "a.png,64,48,cat,1e12,2,20,30": "is no finite number",
}


@pytest.mark.parametrize("row", BROKEN_ROWS)
def test_broken_rows_of_a_table(tmp_path, capsys, row):
    tensorflow_csv(tmp_path / "data")
    path = tmp_path / "data" / "train_labels.csv"
    path.write_text(path.read_text() + "\n" + row)
    shown = refused(capsys, tmp_path)
    assert "train_labels.csv: line 6" in shown and BROKEN_ROWS[row] in shown


def test_parts_of_the_picture_in_a_table(tmp_path):
    tensorflow_csv(tmp_path)
    rows = "filename,class,xmin,ymin,xmax,ymax\n" + "a.png,cat,0.1,0.2,0.5,0.75\n" * 3
    text(tmp_path / "train_labels.csv", rows)
    dataset = open_dataset(tmp_path, "train")
    assert "taken for parts of the picture" in str(dataset.problems[0])
    sides = np.array([dataset.images[0].width, dataset.images[0].height] * 2)
    expected = ([0.1, 0.2, 0.5, 0.75] * sides).astype(np.float32)
    np.testing.assert_array_equal(dataset.target(0)["boxes"][0], expected)


def test_annotations_without_a_picture_are_left_out_and_named(tmp_path):
    without_configuration(tmp_path / "yolo")
    text(tmp_path / "yolo" / "labels" / "train" / "lost.txt", "0 0.5 0.5 0.1 0.1")
    labelme(tmp_path / "labelme")
    (tmp_path / "labelme" / "train" / "a.png").unlink()
    tensorflow_csv(tmp_path / "csv")
    (tmp_path / "csv" / "images" / "a.png").unlink()
    for name, lost in (("yolo", "lost.txt"), ("labelme", "a.json"), ("csv", "a.png")):
        dataset = open_dataset(tmp_path / name, "train")
        assert left_out(dataset.problems).startswith("1 left out: ")
        assert lost in left_out(dataset.problems)
        with pytest.raises(DatasetError):
            open_dataset(tmp_path / name, "train", strict=True)


def test_classes_that_nothing_names_are_numbers(tmp_path):
    without_configuration(tmp_path)
    (tmp_path / "classes.txt").unlink()
    dataset = open_dataset(tmp_path, "train")
    assert dataset.classes == ["0", "1"]
    assert any("nothing names the classes" in str(problem) for problem in dataset.problems)


def test_several_data_sets_in_one_folder(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        text(tmp_path / "VOCdevkit" / year / "Annotations" / "a.xml", voc_xml(""))
    with pytest.raises(UserError, match=r"several data sets: choose --data .*VOC2007 or .*VOC2012"):
        open_dataset(tmp_path, "train")


def test_pictures_with_other_text_beside_them_are_no_data_set(tmp_path):
    save(tmp_path / "a.png", 1)
    text(tmp_path / "a.txt", "a photograph of a cat, taken in May")
    with pytest.raises(UserError, match="holds no data set"):
        open_dataset(tmp_path, "train")
