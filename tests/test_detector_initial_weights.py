"""What a training run may be told to start from: weights, or one line that says what is wrong."""

import numpy as np
import pytest

from detector import LightHeadRCNN
from detector.datasets import ShapesDataset
from detector.errors import UserError
from detector.training import checkpoints
from detector.training.initial_weights import load_initial_weights
from detector.training.objectives.detection import describe
from nn.weights import safetensors


@pytest.fixture(scope="module")
def model():
    return LightHeadRCNN(4, "shufflenet_v2_x0_5")


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """The same backbone in every format that needs no PyTorch."""
    folder = tmp_path_factory.mktemp("weights")
    state = model.backbone.state_dict()
    np.savez(folder / "w.npz", **state)
    safetensors.write(folder / "w.safetensors", state, {})
    checkpoints.write(folder / "w.ckpt", "detection", model, describe(model, ShapesDataset(1)))
    return folder


def complaint(model, path):
    with pytest.raises(UserError) as raised:
        load_initial_weights(model, path)
    line = str(raised.value)
    assert str(path) in line and "\n" not in line
    return line


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.ckpt"])
def test_a_truncated_file(model, files, tmp_path, name):
    content = (files / name).read_bytes()
    load_initial_weights(model, files / name)
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        (tmp_path / name).write_bytes(content[:length])
        complaint(model, tmp_path / name)


@pytest.mark.parametrize("name", ["folder", "folder.pth", "folder.ckpt"])
def test_a_folder_without_a_run(model, tmp_path, name):
    (tmp_path / name).mkdir()
    assert "there is no checkpoint" in complaint(model, tmp_path / name)


@pytest.mark.parametrize("name", ["w.pth", "w.ckpt"])
def test_a_file_that_cannot_be_read(model, tmp_path, monkeypatch, name):
    """Whoever runs the tests may be allowed to read everything, so the system says no here."""
    assert "there " in complaint(model, tmp_path / name)

    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    assert "(Permission denied)" in complaint(model, tmp_path / name)


def test_a_checkpoint_of_lightning(model, tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"model.{n}": torch.from_numpy(a) for n, a in model.backbone.state_dict().items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "2"}, tmp_path / "epoch=3.ckpt")
    assert "loaded 275 of 275" in load_initial_weights(model, tmp_path / "epoch=3.ckpt")


@pytest.mark.parametrize("name", ["w.npz", "w.pth", "w.ckpt"])
def test_another_programs_file_is_no_detector(files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((files / "w.npz").read_bytes())
    with pytest.raises(UserError, match="another program's file .*: train --init-from can start"):
        checkpoints.read(path)
