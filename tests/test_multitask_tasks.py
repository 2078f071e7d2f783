"""The ready tasks: each is the detector's own training, and shares what it should."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import multitask
from detector.datasets import ShapesDataset
from detector.datasets.class_folders import ClassFolders, SquareTransform
from detector.errors import UserError
from detector.training.presets import preset
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session
from detector.training.trainer import Trainer
from multitask.tasks import Classification, joint, multi_scale, single
from multitask.tasks.batches import Batches

TINY = (
    preset("tiny")
    .resized(64)
    .updated({"steps": {"batch": 2, "warmup": 2}, "crops": {"iterations": 0, "batch": 4}})
)


@pytest.fixture
def session(monkeypatch):
    """A few small pictures of shapes instead of 2,400."""
    monkeypatch.setattr(
        "detector.datasets.layout.ShapesDataset", lambda count, split: ShapesDataset(5, split, 64)
    )
    return Session(data="shapes", val="val", recipe=TINY)


def test_the_detection_task_takes_the_steps_of_lighthead_train(session, tmp_path):
    iterations = 6  # two epochs of 5 pictures
    run = RunFolder(tmp_path / "run")
    run.create()
    objective = session.objective()
    trainer = Trainer(objective, TINY.changed("steps.epochs", 2).steps, run, 0)
    trainer.fit()
    model = objective.model
    assert trainer.position.iteration == iterations

    result = multitask.run(single(session, iterations), iterations, processes=False)
    state = result.state_dict("detection")
    expected = model.state_dict()
    assert sorted(state) == sorted(expected)
    for name, array in expected.items():
        assert state[name].tobytes() == array.tobytes(), name


def test_joint_training_shares_the_backbone_and_nothing_else(session):
    detection, classification = joint(session, 2)
    result = multitask.run([detection, classification], 2, processes=False)
    shared = set(result.names["detection"]) & set(result.names["classification"])
    assert shared == {name for name in result.names["detection"] if name.startswith("backbone.")}
    own = set(result.names["classification"]) - shared
    assert own == {"classifier.weight", "classifier.bias"}
    alone = multitask.run(single(session, 2), 2, processes=False)
    name = "backbone.conv1.0.weight"
    assert not np.array_equal(result.parameters[name], alone.parameters[name])
    # Running statistics are each task's own.
    mean = "backbone.conv1.1.running_mean"
    assert not np.array_equal(
        result.buffers["detection"][mean], result.buffers["classification"][mean]
    )


def test_two_scales_share_everything_that_is_learned(session):
    unzoomed = session.recipe.changed("augmentation.zoom", (1.0, 1.0))
    tasks = multi_scale(replace(session, recipe=unzoomed), 2)
    assert [task.name for task in tasks] == ["detection", "detection-48"]
    seen = {}
    for task in tasks:
        detection = task.loss.__self__
        batch = Batches(detection.objective())[0]
        seen[task.name] = (min(batch.images[0].shape[:2]), batch.indices.tolist())
    assert seen["detection"][0] == 64 and seen["detection-48"][0] == 48
    anchors = [task.model().rpn.anchor_generator.shapes for task in tasks]
    np.testing.assert_array_equal(*anchors)
    result = multitask.run(tasks, 2, processes=False)
    assert result.names["detection"] == result.names["detection-48"]
    with pytest.raises(UserError, match="must differ"):
        multi_scale(session, 2, second_side=64)


def test_tasks_go_to_other_processes_even_after_use(session):
    for task in [*joint(session, 3), *multi_scale(session, 3)]:
        losses = task.loss(task.model(), 1)
        losses = losses if isinstance(losses, dict) else {"loss": losses}
        again = pickle.loads(pickle.dumps(task))
        repeated = again.loss(again.model(), 1)
        repeated = repeated if isinstance(repeated, dict) else {"loss": repeated}
        assert {n: x.item() for n, x in losses.items()} == {
            n: x.item() for n, x in repeated.items()
        }
        assert again.lr(1) == task.lr(1) > 0


def test_batches_in_any_order_are_those_of_the_loader(session):
    objective = session.objective()
    loader = objective.loader
    epochs = itertools.chain.from_iterable(loader.epoch(epoch) for epoch in range(3))
    expected = [batch.indices.tolist() for batch in epochs]
    batches = Batches(objective)
    for iteration in [0, 1, 2, 3, 4, 5, 2, 3, 8, 7, 0]:
        assert batches[iteration].indices.tolist() == expected[iteration], iteration
    batches.close()


def test_a_folder_per_class(session, tmp_path):
    colours = {"blue": (0, 0, 255), "red": (255, 0, 0)}
    for name, colour in colours.items():
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (30 + number, 40), colour).save(tmp_path / name / f"{number}.png")
    (tmp_path / "empty").mkdir()
    folders = ClassFolders(tmp_path)
    assert folders.classes == ["blue", "red"] and len(folders) == 8
    image, target = folders.load(7)
    assert target["label"] == 2 and image.shape == (40, 33, 3) and image[0, 0, 0] == 255
    rng = np.random.default_rng(0)
    square, _ = SquareTransform(48)(image, target, rng, rng)
    assert square.shape == (48, 48, 3)
    # Two colours are learned at once.
    task = Classification(session, 30, folder=tmp_path).task()
    told = multitask.run([task], 30, processes=False).history["classification"]
    assert told[-1]["loss"] < 0.5 * told[0]["loss"]
    with pytest.raises(UserError, match="at least two classes"):
        ClassFolders(tmp_path / "red")
