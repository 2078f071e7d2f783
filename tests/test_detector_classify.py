"""`lighthead classify`: with a run of one's own, with weights of others, and mistakes."""

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image
from test_detector_classification import COLOURS, OPTIONS, write_classes

import nn
from nn.models import NETWORKS
from nn.weights import safetensors


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    nn.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    safetensors.write(path, NETWORKS["squeezenet1_1"]().state_dict())
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "a.png"
    Image.fromarray(pixels).save(path)
    return path


def test_a_run_names_what_it_learned(capsys, tmp_path):
    data, out = write_classes(tmp_path / "data"), tmp_path / "run"
    assert run(capsys, "train", "--data", data, *OPTIONS, "--out", out)[0] == 0
    code, text, _ = run(capsys, "classify", "--weights", out, data, "--top", "1")
    assert code == 0
    lines = text.splitlines()
    assert len(lines) == 12 * len(COLOURS)
    for line in lines:
        name, _, found = line.rpartition(": ")
        assert found.split()[0] in name and float(found.split()[1]) > 50
    line = complaint(capsys, "classify", "--weights", out, data, "--names", "x")
    assert "--names is for --network" in line


def test_weights_of_others_give_probabilities(capsys, weights, picture):
    words = ["classify", "--network", "squeezenet1_1", "--weights", weights, picture]
    code, text, _ = run(capsys, *words, "--top", "1000")
    assert code == 0
    found = dict(part.rsplit(" ", 1) for part in text.strip().split(": ", 1)[1].split(", "))
    assert len(found) == 1000
    # The same by hand: the middle 84 x 84 pixels, at 224, normalised as torchvision's weights want.
    middle = (
        Image.open(picture).crop((22, 6, 106, 90)).resize((224, 224), Image.Resampling.BILINEAR)
    )
    model = NETWORKS["squeezenet1_1"]()
    model.load_state_dict(safetensors.read(weights)[0])
    pixels = (
        np.asarray(middle, np.float32) / 255 - model.preprocessing.mean
    ) / model.preprocessing.std
    with nn.no_grad():
        scores = model.eval()(nn.Tensor(pixels.transpose(2, 0, 1)[None].astype(np.float32))).data[0]
    expected = 100 * np.exp(scores) / np.exp(scores).sum()
    best = int(np.argmax(expected))
    assert next(iter(found)) == f"class {best}"
    assert abs(float(found[f"class {best}"]) - expected[best]) < 0.06


def test_classes_have_the_names_of_a_file(capsys, tmp_path, weights, picture):
    words = ["classify", "--network", "squeezenet1_1", "--weights", weights, picture]
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"thing {number}" for number in range(1000)))
    code, text, _ = run(capsys, *words, "--names", names)
    assert code == 0 and text.count("thing ") == 5
    names.write_text("one\ntwo")
    assert "has 2 lines" in complaint(capsys, *words, "--names", names)
    assert "cannot read the names" in complaint(capsys, *words, "--names", tmp_path)


def test_mistakes(capsys, tmp_path, weights, picture):
    words = ["classify", picture, "--weights"]
    line = complaint(capsys, *words, weights, "--network", "resnet19")
    assert "did you mean 'resnet1" in line
    assert "none of its" in complaint(capsys, *words, weights, "--network", "resnet18")
    assert "there are no weights" in complaint(capsys, *words, "no.pth", "--network", "resnet18")
    assert "--top must be" in complaint(capsys, *words, weights, "--top", "0")
    options = ["--network", "squeezenet1_1", "--weights", weights]
    assert "nowhere.png does not exist" in complaint(capsys, "classify", "nowhere.png", *options)
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:100])
    code, text, errors = run(capsys, "classify", picture, broken, *options)
    assert code == 2 and text.count("class ") == 5 and "broken.png" in errors
