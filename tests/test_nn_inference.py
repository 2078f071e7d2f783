"""Folding batch norm leaves the function as it was."""

import numpy as np
import pytest

import nn
from nn.inference import fold_batch_norms, fold_conv_batch_norm


def norm_with_history(channels: int, seed: int) -> nn.BatchNorm2d:
    rng = np.random.default_rng(seed)
    norm = nn.BatchNorm2d(channels)
    norm.weight.data[:] = rng.uniform(-2, 2, channels)
    norm.bias.data[:] = rng.standard_normal(channels)
    norm.running_mean[:] = rng.standard_normal(channels)
    norm.running_var[:] = rng.uniform(0.1, 3, channels)
    return norm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_pair_folds_into_one_convolution(bias, groups):
    conv = nn.Conv2d(4, 8, 3, padding=1, groups=groups, bias=bias)
    norm = norm_with_history(8, seed=groups).eval()
    x = nn.Tensor(np.random.default_rng(0).standard_normal((2, 4, 5, 6)).astype(np.float32))
    expected = norm(conv(x)).numpy()
    actual = fold_conv_batch_norm(conv, norm)(x).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_all_pairs_of_a_model_fold_and_the_model_stays():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        norm_with_history(4, 1),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), norm_with_history(4, 2)),
        norm_with_history(4, 3),
    )
    before = {name: array.copy() for name, array in model.state_dict().items()}
    folded = fold_batch_norms(model)
    kinds = [type(module).__name__ for module in folded.modules()]
    assert kinds.count("BatchNorm2d") == 1 and kinds.count("Identity") == 2
    x = nn.Tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32))
    np.testing.assert_allclose(folded(x).numpy(), model.eval()(x).numpy(), rtol=1e-4, atol=1e-5)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_channels_must_agree():
    with pytest.raises(ValueError, match="8 channels.*4"):
        fold_conv_batch_norm(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(4))
