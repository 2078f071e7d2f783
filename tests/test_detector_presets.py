"""Recipes: what fits a preset to a data set."""

from detector.training.presets import preset


def test_a_small_set_is_seen_more_often():
    steps = preset("laptop").steps
    assert steps.least_iterations == 1500
    few = steps.fitted(batches_per_epoch=2)
    assert few.epochs == 750 and few.epochs // few.evaluate_every == 10
    enough = steps.fitted(batches_per_epoch=150)
    assert (enough.epochs, enough.evaluate_every) == (steps.epochs, steps.evaluate_every)


def test_epochs_that_were_asked_for_stay():
    steps = preset("laptop").updated({"steps": {"epochs": 3, "least_iterations": 0}}).steps
    assert steps.fitted(batches_per_epoch=2).epochs == 3
