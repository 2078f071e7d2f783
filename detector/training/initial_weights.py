"""Where a training run starts from: weights of another network, as far as they fit this one."""

from __future__ import annotations

import os
from pathlib import Path

from detector.errors import UserError
from detector.training import checkpoints
from detector.training.run_folder import RunFolder
from nn.models import load_weights
from nn.weights import WeightsError


def load_initial_weights(model, path: str | os.PathLike) -> str:
    """Put weights into a detector before it is trained.

    Args:
        model: the detector.
        path: a file with weights of its backbone (see ``nn.weights``); or a run folder or a
            checkpoint of a detector, of which all tensors are taken that have the name and shape
            of one of the model's. (A detector of other classes differs in the last layer only.)

    Returns:
        a sentence that says how much was loaded.

    Raises:
        UserError: the file cannot be used, or nothing in it fits.
    """
    path = Path(path)
    if path.is_dir():
        path = RunFolder(path).best_or_last()
    if path.suffix == ".ckpt" and not checkpoints.is_foreign(path):
        return load_from_checkpoint(model, path)
    try:
        report = load_weights(model.backbone, path)
        model.set_preprocessing(report.preprocessing.mean, report.preprocessing.std)
        return str(report)
    except FileNotFoundError:
        raise UserError(f"there are no weights {path}") from None
    except OSError as error:
        raise UserError(f"cannot read the weights {path} ({error.strerror})") from error
    except (WeightsError, ValueError) as error:
        raise UserError(str(error)) from error


def load_from_checkpoint(model, path: Path) -> str:
    """Take every tensor of a detector's checkpoint that fits."""
    tree = checkpoints.read(path)
    state, own = tree["model"], model.state_dict()
    checkpoints.check_finite(state, path)
    fitting = {
        name: array
        for name, array in state.items()
        if name in own and own[name].shape == array.shape
    }
    if not fitting:
        raise UserError(f"no tensor of {path} fits this detector: is it of the same backbone?")
    model.load_state_dict(fitting, strict=False)
    with checkpoints.understood(path):
        image = tree["about"]["config"]["image"]
        model.set_preprocessing(image["mean"], image["std"])
    return f"{path}: loaded {len(fitting)} of the detector's {len(own)} tensors"
