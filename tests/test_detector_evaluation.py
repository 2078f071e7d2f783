"""COCO's figures: cases worked out by hand, and equality with pycocotools run from files."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
from field_cases import field_case
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_data_set import write_coco

from detector.datasets import open_dataset
from detector.evaluation.figures import FIGURES, coco_evaluation
from detector.evaluation.validation import measure
from detector.training.objectives.detection import open_splits
from detector.training.presets import preset
from detector.training.sessions import Session

CATEGORIES = [{"id": 7, "name": "zebra"}, {"id": 3, "name": "apple"}]


def truth(boxes, images=(1, 2), **more):
    """boxes: (image, category, x, y, w, h), more per annotation by keyword lists."""
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": list(box),
            "area": box[2] * box[3],
            "iscrowd": more.get("crowd", {}).get(number, 0),
        }
        for number, (image, category, *box) in enumerate(boxes, start=1)
    ]
    records = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in images]
    return {"images": records, "annotations": annotations, "categories": CATEGORIES}


def found(image, category, score, *box):
    return {"image_id": image, "category_id": category, "score": score, "bbox": list(box)}


def test_all_right_is_one_and_absent_class_is_undefined():
    ground_truth = truth([(1, 7, 10, 10, 40, 40), (2, 7, 10, 10, 100, 100)])
    result = coco_evaluation(
        ground_truth, [found(1, 7, 0.9, 10, 10, 40, 40), found(2, 7, 0.8, 10, 10, 100, 100)]
    )
    assert [result.figures[name] for name in ("AP", "AP50", "AR100")] == pytest.approx([1, 1, 1])
    assert result.figures["AP_small"] is None
    assert result.figures["AP_large"] == pytest.approx(1)
    zebra, apple = result.classes
    assert (zebra.name, zebra.boxes) == ("zebra", 2)
    assert (zebra.AP, zebra.AP50, zebra.recall) == pytest.approx((1, 1, 1))
    assert (apple.name, apple.boxes, apple.AP, apple.AP50) == ("apple", 0, None, None)
    (line,) = [line for line in result.table().splitlines() if line.startswith("apple")]
    assert line.split() == ["apple", "0", "-", "-", "-"]


def test_classes_are_not_mixed_up():
    """The data set's order is not the order of ids: zebra is 7 but comes first."""
    ground_truth = truth([(1, 7, 10, 10, 40, 40), (1, 3, 100, 100, 50, 50)])
    result = coco_evaluation(ground_truth, [found(1, 3, 0.9, 100, 100, 50, 50)])
    zebra, apple = result.classes
    assert (zebra.AP50, apple.AP50) == pytest.approx((0, 1))


def test_one_miss_and_one_false_alarm():
    """Right, wrong, right of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.

    Made non-increasing from the right (1 up to recall 1/3, 2/3 up to 2/3, then 0) and sampled at
    0, 0.01, ..., 1: 34 points at 1 and 33 at 2/3.
    """
    ground_truth = truth([(1, 7, 0, 0, 40, 40), (1, 7, 50, 50, 40, 40), (2, 7, 0, 0, 40, 40)])
    result = coco_evaluation(
        ground_truth,
        [
            found(1, 7, 0.9, 0, 0, 40, 40),
            found(1, 7, 0.8, 120, 120, 40, 40),
            found(2, 7, 0.7, 0, 0, 40, 40),
        ],
    )
    assert result.figures["AP50"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert result.figures["AR100"] == pytest.approx(2 / 3)


def test_iou_decides():
    """Half of the object found: IoU 0.5 counts for AP50 and for nothing stricter."""
    result = coco_evaluation(truth([(1, 7, 0, 0, 40, 40)]), [found(1, 7, 0.9, 0, 0, 40, 20)])
    assert result.figures["AP50"] == pytest.approx(1)
    assert result.figures["AP"] == pytest.approx(0.1)


def test_crowd_neither_missed_nor_wrong():
    ground_truth = truth([(1, 7, 0, 0, 40, 40), (1, 7, 100, 0, 100, 200)], crowd={2: 1})
    right = found(1, 7, 0.5, 0, 0, 40, 40)
    in_crowd = found(1, 7, 0.9, 110, 10, 40, 40)
    result = coco_evaluation(ground_truth, [right, in_crowd])
    assert result.figures["AP50"] == pytest.approx(1)
    assert result.classes[0].boxes == 1


def test_nothing_found_warns_and_is_zero():
    result = coco_evaluation(truth([(1, 7, 0, 0, 40, 40)]), [])
    assert result.figures["AP"] == 0 and "nothing" in result.warning
    assert result.classes[0].AP == 0


def test_nothing_annotated_warns():
    result = coco_evaluation(truth([]), [found(1, 7, 0.5, 0, 0, 9, 9)])
    assert result.figures["AP"] is None and "no annotated box" in result.warning
    assert "-" in result.table()


def test_only_the_images_of_the_split_count():
    ground_truth = truth([(1, 7, 0, 0, 40, 40), (2, 7, 0, 0, 40, 40)], images=(1,))
    result = coco_evaluation(ground_truth, [found(1, 7, 0.9, 0, 0, 40, 40)])
    assert result.figures["AP"] == pytest.approx(1)
    assert result.images == 1 and result.classes[0].boxes == 1
    with pytest.raises(ValueError, match="image 2"):
        coco_evaluation(ground_truth, [found(2, 7, 0.9, 0, 0, 40, 40)])
    with pytest.raises(ValueError, match="category 4"):
        coco_evaluation(ground_truth, [found(1, 4, 0.9, 0, 0, 40, 40)])


def test_min_box_leaves_out_what_the_network_saw_small():
    """At half size, 60 x 60 becomes 30 x 30: neither it nor detections of that size count."""
    ground_truth = truth([(1, 7, 0, 0, 60, 60), (1, 7, 100, 100, 80, 80)])
    detections = [found(1, 7, 0.9, 0, 120, 60, 60), found(1, 7, 0.8, 100, 100, 80, 80)]
    assert coco_evaluation(ground_truth, detections).figures["AP50"] < 0.6
    restricted = coco_evaluation(ground_truth, detections, min_box=32, scales={1: 0.5, 2: 0.5})
    assert restricted.figures["AP50"] == pytest.approx(1)
    everything = coco_evaluation(ground_truth, detections, min_box=32, scales={1: 2.0, 2: 2.0})
    assert everything.figures["AP50"] < 0.6


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(
        st.integers(-2, 3) | st.integers() | st.text(max_size=3) | st.none(), min_size=3, max_size=3
    )
)
@example(ids=[0, 1, 2])
@example(ids=[5, 0, 9])
@example(ids=[-1, -1, 2**70])
@example(ids=["a", "", "0"])
def test_perfect_detections_are_perfect_whatever_the_ids_of_annotations(ids):
    boxes = [(1, 7, 10, 10, 40, 40), (1, 3, 60, 60, 50, 50), (2, 7, 5, 5, 100, 100)]
    ground_truth = truth(boxes)
    for entry, number in zip(ground_truth["annotations"], ids, strict=True):
        entry["id"] = number
    result = coco_evaluation(ground_truth, [found(i, c, 0.9, *box) for i, c, *box in boxes])
    assert [result.figures[name] for name in ("AP", "AP50", "AR100")] == pytest.approx([1, 1, 1])
    assert [entry.AP for entry in result.classes] == pytest.approx([1, 1])
    assert [entry["id"] for entry in ground_truth["annotations"]] == ids


def test_annotations_need_no_id():
    ground_truth = truth([(1, 7, 10, 10, 40, 40)])
    del ground_truth["annotations"][0]["id"]
    result = coco_evaluation(ground_truth, [found(1, 7, 1, 10, 10, 40, 40)])
    assert result.figures["AP"] == pytest.approx(1)


def test_equals_pycocotools_from_files(tmp_path):
    """200 random detections of 60 random objects, some in crowds: all twelve figures."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.Generator(np.random.Philox(3))
    images = tuple(range(1, 9))
    boxes = [
        (image, int(rng.choice([3, 7])), *rng.uniform((0, 0, 5, 5), (99, 99, 140, 140)))
        for image in rng.integers(1, 9, 60).tolist()
    ]
    ground_truth = truth(boxes, images, crowd={5: 1, 6: 1, 7: 1})
    detections = []
    for _ in range(200):
        image, category, *box = boxes[rng.integers(60)]
        shaken = np.array(box) * rng.uniform(0.8, 1.25, 4)
        detections.append(found(image, category, float(rng.random()), *shaken.tolist()))

    (tmp_path / "truth.json").write_text(json.dumps({"info": {}, **ground_truth}))
    (tmp_path / "found.json").write_text(json.dumps(detections))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "truth.json"))
        evaluator = COCOeval(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    result = coco_evaluation(ground_truth, detections)
    np.testing.assert_allclose([result.figures[name] for name in FIGURES], evaluator.stats)
    by_class = np.mean([entry.AP for entry in result.classes])
    assert by_class == pytest.approx(evaluator.stats[0])


def test_prints_nothing(capsys):
    coco_evaluation(truth([(1, 7, 0, 0, 40, 40)]), [found(1, 7, 0.9, 0, 0, 40, 40)])
    assert capsys.readouterr() == ("", "")


def test_the_classes_table_reads_ap50_at_iou_0_50():
    """A box that overlaps by 0.52 is right at 0.50 and wrong at all other thresholds."""
    ground_truth = truth([(1, 7, 0, 0, 100, 100), (1, 3, 0, 0, 100, 100)])
    found_boxes = [found(1, 7, 0.9, 0, 0, 100, 52), found(1, 3, 0.9, 0, 0, 100, 98)]
    result = coco_evaluation(ground_truth, found_boxes)
    zebra, apple = result.classes
    assert (zebra.AP50, zebra.AP, zebra.recall) == pytest.approx((1, 0.1, 0.1))
    assert (apple.AP50, apple.AP, apple.recall) == pytest.approx((1, 1, 1))
    assert result.figures["AP50"] == pytest.approx(1)


def test_pictures_of_other_classes_count_as_in_pycocotools(tmp_path):
    """A detector of zebras that sees one everywhere is wrong where there are only cats and dogs."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Zebras:
        model = None
        scores = iter([0.5, 0.9, 0.7])

        def predict(self, images):
            box = np.array([[0, 0, 64, 48]], np.float32)
            return [
                {"boxes": box, "scores": np.array([next(self.scores)]), "labels": np.array([1])}
            ]

    write_coco(tmp_path)
    dataset = open_dataset(tmp_path, "train", ["zebra"], with_others=True)
    result, detections = measure(Zebras(), dataset)
    assert result.images == len(detections) == 3

    with contextlib.redirect_stdout(io.StringIO()):
        whole = COCO(str(tmp_path / "annotations" / "instances_train.json"))
        for entry in whole.dataset["annotations"]:
            entry |= {"iscrowd": 0, "area": entry["bbox"][2] * entry["bbox"][3], **entry}
        evaluator = COCOeval(whole, whole.loadRes(detections), "bbox")
        evaluator.params.catIds = [90]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    assert list(result.figures.values()) == pytest.approx(
        [value if value >= 0 else None for value in evaluator.stats]
    )
    assert result.figures["AP"] == pytest.approx(1 / 3)


def test_a_run_is_measured_on_pictures_of_other_classes_too(tmp_path):
    for split in ("train", "val"):
        write_coco(tmp_path, split=split)
    session = Session(data=str(tmp_path), val="val", classes=["zebra"], recipe=preset("tiny"))
    train, val = open_splits(session)
    assert [record.path.name for record in train.images] == ["a.png", "c.png"]
    assert [record.path.name for record in val.images] == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("case", ["01-ids-from-0", "01-ids-from-1"])
def test_field_case_01(case):
    dataset = open_dataset(field_case(case), "val")
    ground_truth = dataset.coco_ground_truth()
    detections = [
        found(entry["image_id"], entry["category_id"], 0.9, *entry["bbox"])
        for entry in ground_truth["annotations"]
    ]
    result = coco_evaluation(ground_truth, detections)
    assert len(detections) == 3 and result.figures["AP"] == pytest.approx(1)
