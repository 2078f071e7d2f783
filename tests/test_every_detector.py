"""Every detector of the table meets every check: losses, detections, compilation, files, a run.

A new row without a small one in ``small_detectors.py`` fails.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_detectors import (
    SIZES,
    SMALL,
    batch,
    check_detections,
    generator,
    picture,
    small_detector,
)
from small_runs import assert_same_end, train, train_and_die

import nn
from detector import CompiledDetector
from detector.datasets import ShapesDataset, write_shapes
from detector.detectors import DETECTORS
from detector.detectors.compiled import MOST_SIZES
from detector.detectors.detector import Detector, DetectorSettings
from detector.training import checkpoints
from detector.training.loading import load_detector
from detector.training.objectives.detection import describe
from detector.training.recipe import Recipe

SHAPES = ShapesDataset(8, image_size=64)
STEPS = 30
KEYS = ("boxes", "scores", "labels")


def misspelt(name: str) -> str:
    return f"{name[0]}x{name[1:]}"


def eight_pictures():
    return zip(*(SHAPES.load(i) for i in range(8)), strict=True)


@pytest.fixture(scope="module", params=list(DETECTORS))
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return small_detector(name)


@pytest.fixture(scope="module")
def lesson(name):
    """A detector that saw eight pictures a few times, and its losses. Nobody may change it."""
    model = small_detector(name, len(SHAPES.classes))
    optimizer = nn.optim.MomentumSGD(model.parameters(), lr=0.02)
    images, targets = eight_pictures()
    history = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = sum(model.loss(images, targets).values())
        loss.backward()
        nn.optim.clip_grad_norm(model.parameters(), 10.0)
        optimizer.step()
        history.append(loss.item())
    return model, history


# The table


def test_every_row_has_a_small_one():
    assert set(SMALL) == set(DETECTORS)


def test_a_row_is_a_detector_and_its_settings_know_it(name):
    detector = DETECTORS[name]
    assert issubclass(detector, Detector) and issubclass(detector.Settings, DetectorSettings)
    assert detector.Settings.detector == name and type(SMALL[name]) is detector.Settings
    if detector.Settings.anchors is not None:
        found = detector.Settings()
        for part in detector.Settings.anchors.split("."):
            found = getattr(found, part)
        fitted = detector.Settings().fitted(np.float32([[20, 40], [30, 30], [90, 60]]), 2, 1)
        assert detector.Settings.of(json.loads(json.dumps(fitted.as_dict()))) == fitted
        for part in detector.Settings.anchors.split("."):
            fitted = getattr(fitted, part)
        assert fitted.shapes is not None and fitted != found


def test_misspelt_names_are_told_the_nearest(name):
    with pytest.raises(LookupError, match=f"no detector .*did you mean '{name}'"):
        DETECTORS[misspelt(name)]
    with pytest.raises(ValueError, match=f"no detector .*did you mean '{name}'"):
        Recipe().updated({"detector": misspelt(name)})
    with pytest.raises(ValueError, match="did you mean 'shufflenet_v2_x0_5'"):
        DETECTORS[name](3, backbone="shufflenet_v2_x05")
    with pytest.raises(ValueError, match="there is no imag .did you mean 'image'"):
        DETECTORS[name](3, imag={})
    with pytest.raises(ValueError, match="image: there is no short_sid .*'short_side'"):
        DETECTORS[name](3, image={"short_sid": 3})
    with pytest.raises(ValueError, match="at least one class"):
        DETECTORS[name](0)


# Settings


def test_settings_survive_json(name):
    for settings in (SMALL[name], DETECTORS[name].Settings()):
        assert type(settings).of(json.loads(json.dumps(settings.as_dict()))) == settings
    recipe = Recipe().updated({"detector": name, "model": SMALL[name]})
    assert Recipe.of(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_config_builds_the_same_again(model):
    config = json.loads(json.dumps(model.config()))
    again = type(model)(**config)
    assert again.config() == model.config() and again.settings == model.settings
    shapes = {key: array.shape for key, array in model.state_dict().items()}
    assert {key: array.shape for key, array in again.state_dict().items()} == shapes


def test_the_same_seed_gives_the_same_weights(name, model):
    same, other = small_detector(name), small_detector(name, seed=1)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, same.state_dict()[key])
    assert any((array != other.state_dict()[key]).any() for key, array in same.state_dict().items())


def test_preprocessing_of_the_loaded_weights_is_kept(model):
    model.set_preprocessing((0, 0, 0), (1, 1, 1))
    (value,) = np.unique(model.to_tensor([np.full((32, 32, 3), 51, np.uint8)]).data)
    assert value == pytest.approx(0.2)
    assert type(model)(**model.config()).image.std == (1, 1, 1)


# Losses


def test_the_loss_falls(lesson):
    _, history = lesson
    assert np.isfinite(history).all()
    assert np.mean(history[-3:]) < 0.7 * np.mean(history[:3]), history


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 2)])
def test_losses_of_tiny_images(model, size):
    target = {"boxes": np.float32([[0, 0, size[1], size[0]]]), "labels": np.array([2])}
    losses = model.eval().loss([picture(*size)], [target], generator())
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    assert sum(losses.values()).item() > 0


def test_losses_without_objects(model):
    images, targets = batch()
    losses = model.loss(images, [targets[1], targets[1]], generator())
    assert all(np.isfinite(loss.item()) and loss.shape == () for loss in losses.values())
    sum(losses.values()).backward()
    assert all(np.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_losses_follow_the_generator_only(model):
    values = [
        [loss.item() for loss in model.loss(*batch(), rng=rng).values()]
        for rng in (generator(1), generator(1), None, None)
    ]
    assert values[0] == values[1] and values[2] == values[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, targets: (images, targets[:1]), "2 images and 1 targets"),
        (lambda images, targets: ([], []), "at least one image"),
        (lambda images, targets: (images, [{**targets[0], "labels": [1, 4]}, targets[1]]), "1..3"),
        (lambda images, targets: (images, [{**targets[0], "labels": [0, 1]}, targets[1]]), "1..3"),
        (lambda images, targets: (images, [{**targets[0], "labels": [1]}, targets[1]]), "2 boxes"),
        (lambda images, targets: ([images[0] / 255, images[1]], targets), "uint8"),
    ],
)
def test_wrong_targets_are_named(model, change, message):
    with pytest.raises(ValueError, match=message):
        model.loss(*change(*batch()))


# Predictions, plain and compiled


@pytest.fixture(params=["plain", "compiled"])
def predict(request, lesson):
    model, _ = lesson
    return model.predict if request.param == "plain" else CompiledDetector(model).predict


def test_predict_takes_images_of_any_size(predict):
    images = [picture(*size) for size in SIZES]
    found = predict(images)
    assert len(found) == len(images)
    for detections, image in zip(found, images, strict=True):
        check_detections(detections, image, len(SHAPES.classes))
    assert len(found[0]["scores"])
    assert predict([]) == []
    with pytest.raises(ValueError, match="uint8"):
        predict([np.zeros((5, 5, 3), np.float32)])


def test_an_image_does_not_depend_on_others(predict):
    """Not on its neighbours, and not on the many sizes that were seen before it."""
    images = [picture(*size) for size in SIZES]
    found = predict(images)
    predict([picture(100, 60 + 40 * k, 7) for k in range(MOST_SIZES + 2)])
    for alone, image in zip(found, images, strict=True):
        (again,) = predict([image])
        for key in KEYS:
            np.testing.assert_array_equal(alone[key], again[key])


def test_a_network_that_shares_its_weights_gives_the_bits_of_one_that_does_not(lesson):
    model, _ = lesson
    images = [picture(*size) for size in [*SIZES, (120, 90), (90, 70)]]
    seen = CompiledDetector(model)
    seen.predict(images)
    for image, shared in zip(images, seen.predict(images), strict=True):
        (alone,) = CompiledDetector(model).predict([image])
        for key in KEYS:
            np.testing.assert_array_equal(shared[key], alone[key])


def test_compiled_is_plain(lesson):
    model, _ = lesson
    images = [*next(eight_pictures()), picture(100, 150), picture(60, 40, 1), picture(200, 900, 2)]
    compiled = CompiledDetector(model)
    for expected, actual in zip(model.predict(images), compiled.predict(images), strict=True):
        assert len(expected["scores"]) > 5
        # Equal up to rounding, which may exchange neighbours of equal score.
        for box, score, label in list(zip(*(expected[key] for key in KEYS), strict=True))[:5]:
            same = np.isclose(actual["scores"], score, rtol=1e-3) & (actual["labels"] == label)
            assert (same & np.isclose(actual["boxes"], box, rtol=1e-3, atol=0.05).all(1)).any()


def test_training_on_does_not_change_the_compiled_one(model):
    compiled = CompiledDetector(model)
    (before,) = compiled.predict([picture(100, 150)])
    for parameter in model.parameters():
        parameter.data += 1
    (after,) = compiled.predict([picture(150, 100), picture(100, 150)])[1:]
    np.testing.assert_array_equal(before["boxes"], after["boxes"])


def test_predict_leaves_the_model_as_it_was(model):
    model.backbone.eval()  # a part that is not to learn stays in its own mode
    modes = [module.training for module in model.modules()]
    before = {key: array.copy() for key, array in model.state_dict().items()}
    model.predict([picture(64, 64)])
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    model.eval().predict([picture(64, 64)])
    assert not model.training


def test_stages_lead_to_what_is_predicted(lesson):
    model, _ = lesson
    image, target = SHAPES.load(0)
    stages = model.stages(image, target)
    if stages is None:
        return
    height, width = stages.size
    ((found,), scale) = model.predict([image]), width / image.shape[1]
    np.testing.assert_allclose(stages.found["boxes"], found["boxes"] * scale, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(stages.found["labels"], found["labels"])
    count = len(stages.proposals)
    assert stages.pooled.shape[0] == count and stages.probabilities.shape[0] == count > 0
    assert stages.exact.shape == (len(target["boxes"]), 1 + model.num_classes)
    np.testing.assert_allclose(stages.exact.sum(axis=1), 1, rtol=1e-5)
    assert stages.anchors.shape == stages.moved.shape and (stages.anchor_labels == 1).any()
    # Every proposal is one of the best moved anchors, in the order of their objectness.
    moved = stages.moved[stages.best]
    places = [np.flatnonzero((moved == box).all(axis=1))[0] for box in stages.proposals]
    assert (np.diff(stages.objectness[stages.best][places]) <= 0).all()
    assert len(model.stages(image).exact) == 0


# Files, and a run that dies


def test_a_checkpoint_goes_round(name, lesson, tmp_path):
    model, _ = lesson
    path = tmp_path / "some.ckpt"
    checkpoints.write(path, "detection", model, describe(model, SHAPES))
    loaded = load_detector(path)
    assert type(loaded.model) is DETECTORS[name] and loaded.model.config() == model.config()
    assert loaded.classes == SHAPES.classes and not loaded.model.training
    for key, array in model.state_dict().items():
        assert loaded.model.state_dict()[key].tobytes() == array.tobytes()
    (ours,), (theirs,) = (each.predict([picture(64, 96)]) for each in (model, loaded.model))
    for key in KEYS:
        np.testing.assert_array_equal(ours[key], theirs[key])


def test_a_run_that_died_ends_in_the_same_bits(name, tmp_path):
    data, whole, dead = (tmp_path / part for part in ("data", "whole", "dead"))
    write_shapes(data, train=8, val=2, image_size=64)
    options = ["--data", data, "--epochs", "2", "--batch", "4", "--crop-iterations", "0"]
    options += ["--set", f"detector={name}", "--init-from", "none"]
    options += [f"--set=model.{key}={json.dumps(v)}" for key, v in values_of(SMALL[name])]
    train(*options, "--out", whole)
    train_and_die("detection", 3, *options, "--out", dead)
    train("--resume", "--out", dead)
    assert "Anchors and boxes" in (dead / "report.html").read_text(encoding="utf-8")
    assert_same_end(whole, dead)


def values_of(settings, prefix=""):
    """Every single value by its path."""
    for key, value in settings.as_dict().items():
        if isinstance(value, dict):
            yield from values_of(getattr(settings, key), f"{prefix}{key}.")
        else:
            yield prefix + key, value
