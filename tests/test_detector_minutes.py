"""``--minutes``: as many iterations as fit, a rate that ends at 0 with them, and the same bits."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import standin_detector as standin
from field_cases import complaint
from hypothesis import given
from hypothesis import strategies as st
from small_runs import Killed, assert_same_end, train, train_and_die
from test_detector_training import same_bits, without_seconds

import lighthead
from detector.datasets import write_shapes
from detector.errors import UserError
from detector.training import estimate
from detector.training.estimate import Timing, fit_minutes
from detector.training.presets import preset
from detector.training.run_folder import read_metrics

STEPS = replace(standin.STEPS, epochs=9, most_iterations=13)  # 2 epochs and 3 of 5 batches


def laid_out(recipe, timing: Timing, batches: int, pictures: int) -> tuple[float, list[int]]:
    """Walk through a training: its seconds, and the iterations after which it is validated."""
    steps = recipe.steps.fitted(batches)
    seconds, validated = recipe.crops.iterations * timing.crop, []
    epoch = iteration = 0
    while iteration < steps.most_iterations:
        epoch += 1
        for _ in range(min(batches, steps.most_iterations - iteration)):
            iteration += 1
            seconds += timing.step
        if epoch % steps.evaluate_every == 0 or iteration == steps.most_iterations:
            validated.append(iteration)
            seconds += pictures * timing.picture
    return seconds + pictures * timing.picture, validated


@given(
    name=st.sampled_from(["tiny", "laptop", "thesis-s"]),
    step=st.floats(0.05, 3),
    picture=st.floats(0.001, 0.2),
    batches=st.integers(1, 3000),
    pictures=st.integers(1, 300),
    minutes=st.floats(3, 40),
)
def test_what_fits_takes_as_long_as_was_asked_for(name, step, picture, batches, pictures, minutes):
    timing = Timing(step, crop=step / 4, picture=picture)
    recipe = fit_minutes(preset(name), timing, batches, pictures, minutes)
    seconds, validated = laid_out(recipe, timing, batches, pictures)
    assert seconds <= 60 * minutes + 1e-6
    # What is left is less than a step, and than the validations that epochs are too long for.
    epochs = recipe.steps.epochs
    spare = (min(10, epochs) - len(validated)) * pictures * picture + step
    assert seconds > 60 * minutes - spare - 1e-6
    assert seconds == pytest.approx(timing.seconds(recipe, batches, pictures))
    assert 1 <= len(validated) <= 10 and validated[-1] == recipe.steps.most_iterations


def test_there_may_be_no_time_for_anything():
    with pytest.raises(UserError, match="--minutes 1 is too little.*5000 pictures .* take 8:20"):
        fit_minutes(preset("laptop"), Timing(0.3, 0.0, 0.1), 100, 5000, 1)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    standin.trainer(folder, STEPS).fit()
    return folder


def test_it_ends_within_an_epoch_at_a_rate_of_nearly_0(uninterrupted):
    rows = read_metrics(uninterrupted / "metrics.csv")
    steps = [row for row in rows if "loss" in row]
    assert [row["epoch"] for row in steps] == [1] * 5 + [2] * 5 + [3] * 3
    assert [row["iteration"] for row in rows if "val_ap50" in row] == [5, 10, 13]
    expected = 0.04 * (1 + math.cos(math.pi * 12 / 13)) / 2
    assert steps[-1]["lr"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("stop_after", [3, 10, 11, 13])
def test_stopped_and_resumed_is_the_same(uninterrupted, tmp_path, stop_after):
    """13: after the last iteration, before the validation that follows it."""
    standin.fit_until(standin.trainer(tmp_path, STEPS), stop_after)
    resumed = standin.resumed(tmp_path, STEPS)
    resumed.fit()
    assert same_bits(standin.weights(tmp_path), standin.weights(uninterrupted))
    assert without_seconds(tmp_path / "metrics.csv") == without_seconds(
        uninterrupted / "metrics.csv"
    )
    again = standin.resumed(tmp_path, STEPS)
    again.fit()  # has nothing to do
    assert again.position.iteration == 13


QUICK = (
    *("--preset", "tiny", "--crop-iterations", 0, "--batch", 2, "--short-side", 64),
    *("--set", "head.hidden_channels=16", "--set", "thin_map.mid_channels=4"),
    *("--set", "rpn.channels=8"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=10, val=10, image_size=64)
    return folder


def test_a_run_that_died_goes_on_without_being_timed_again(data, tmp_path, monkeypatch):
    timing = Timing(step=1.0, crop=0.0, picture=0.05)
    monkeypatch.setattr(estimate, "time_training", lambda _: timing)
    options = ["--data", data, *QUICK, "--minutes", 0.19]  # 11.4 s
    whole, died = tmp_path / "whole", tmp_path / "died"
    train(*options, "--out", whole)
    config = json.loads((whole / "config.json").read_text())
    steps = config["recipe"]["steps"]
    assert config["minutes"] == 0.19 and steps["most_iterations"] == 9  # and 3 validations of 0.5 s
    assert steps["epochs"] == 2  # of 5 batches
    train_and_die("detection", 7, *options, "--out", died)

    def not_again(*_):
        raise Killed("timed again")

    monkeypatch.setattr(estimate, "time_training", not_again)
    train("--resume", *options, "--out", died)
    assert_same_end(whole, died)


def test_being_timed_leaves_no_trace(data, tmp_path, monkeypatch):
    """The same iterations after the same lessons on crops, timed before and not: the same bits."""
    real = estimate.time_training

    def timed(objective):
        found = real(objective)
        assert 0 < min(found.step, found.crop, found.picture)
        return Timing(step=1.0, crop=0.1, picture=0.05)

    monkeypatch.setattr(estimate, "time_training", timed)
    options = ["--data", data, *QUICK, "--crop-iterations", 3]
    train(*options, "--minutes", 0.1, "--out", tmp_path / "timed")
    train("--like", tmp_path / "timed", "--out", tmp_path / "not")
    assert_same_end(tmp_path / "timed", tmp_path / "not")


def test_another_time_is_another_run(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "time_training", lambda _: Timing(1.0, 0.0, 0.05))
    options = ["train", "--data", data, *QUICK, "--out", tmp_path / "run"]
    assert lighthead.main([*map(str, options), "--minutes", "0.1"]) == 0
    text = capsys.readouterr().out
    assert text.index("it takes about 0:0") < text.index("learning rate up to")
    line = complaint(capsys, *options, "--resume", "--minutes", 3)
    assert "--minutes 3.0 (the run has 0.1)" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--minutes", 0), "minutes must be"),
        (("--minutes", -1), "minutes must be"),
        (("--minutes", "nan"), "minutes must be"),
        (("--minutes", 1e9), "minutes must be"),
        (("--minutes", 3, "--epochs", 2), "--minutes settles --epochs"),
        (("--minutes", 3, "--evaluate-every", 2), "--minutes settles --evaluate-every"),
        (("--patience", 0), "patience must be"),
        (("--patience", -3), "patience must be"),
    ],
)
def test_what_makes_no_sense_is_one_line(data, capsys, options, told):
    assert told in complaint(capsys, "train", "--data", data, "--preset", "tiny", *options)


def test_it_is_for_detection(capsys, tmp_path):
    line = complaint(
        capsys, "train", "--task", "classification", "--data", tmp_path, "--minutes", 3
    )
    assert "--minutes is not for classification: --epochs says" in line
