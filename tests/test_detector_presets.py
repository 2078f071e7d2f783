"""Recipes: what fits a preset to a data set."""

from detector.training.presets import preset


def test_a_small_set_is_seen_more_often():
    recipe = preset("laptop")
    assert recipe.least_iterations == 500
    few = recipe.fitted(batches_per_epoch=2)
    assert few.epochs == 250 and few.epochs // few.evaluate_every == 10
    enough = recipe.fitted(batches_per_epoch=52)
    assert (enough.epochs, enough.evaluate_every) == (recipe.epochs, recipe.evaluate_every)


def test_epochs_that_were_asked_for_stay():
    recipe = preset("laptop").changed(epochs=3, least_iterations=0)
    assert recipe.fitted(batches_per_epoch=2).epochs == 3
