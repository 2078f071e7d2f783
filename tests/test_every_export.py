"""Every kind of export meets every check: the same detections, and nothing is written otherwise."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image
from small_data_set import real_data
from small_detectors import SMALL, small_detector
from test_detector_compiled import OPTIONS, model, picture

import nn
from detector import CompiledDetector
from detector.commands.export import SUFFIX
from detector.datasets import ShapesDataset
from detector.detectors import DETECTORS
from detector.errors import UserError
from detector.parts.preprocess import ImageSettings, resize, to_batch
from detector.parts.preprocess import network_size as network_size_here
from detector.tools.export import EXPORTS, GRAPHS, TORCH
from detector.tools.export.comparison import compare
from detector.training.loading import LoadedDetector
from nn.files import write_json

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from detector.tools.export import onnx_file, picture as picture_nodes  # noqa: E402, I001
from nn.onnx.graph import Graph  # noqa: E402

SIZES = (90, 150), (64, 64), (200, 120), (1, 1), (100, 60)


def loaded(**options) -> LoadedDetector:
    """A detector whose scores are far apart."""
    built = model(**options).eval()
    built.head.classes.weight.data *= 20
    return LoadedDetector(built, ["a", "b", "c"], [1, 2, 3], Path("x"), 0.4)


def pictures():
    """Of noise, in which no two overlapping boxes score the same to the last digit."""
    return [(f"{h} x {w}", picture(h, w, seed)) for seed, (h, w) in enumerate(SIZES, 20)]


@pytest.fixture(params=list(EXPORTS))
def kind(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param


def test_the_tables_know_each_other():
    assert set(TORCH) <= set(GRAPHS) == set(DETECTORS)
    assert set(SUFFIX) == set(EXPORTS) == set(BROKEN)


# The files


@pytest.mark.parametrize("name", OPTIONS)
def test_it_finds_what_we_find(tmp_path, kind, name):
    path = tmp_path / f"out{SUFFIX[kind]}"
    result = EXPORTS[kind](loaded(**OPTIONS[name]), path, pictures())
    assert result.pictures == len(SIZES) and result.detections > 20
    assert result.pixels < 0.5 and result.score < 0.01
    assert path.stat().st_size > 1000


def small(name, num_classes=3):
    """Of ``SMALL``; its regions come from all maps of a pyramid, not just from the finest."""
    model = small_detector(name, num_classes)
    for part in model.modules():
        if hasattr(getattr(part, "settings", None), "canonical_side"):
            part.settings = part.settings.changed("canonical_side", 24.0)
    return model


OTHERS = sorted(set(GRAPHS) - {"light-head-rcnn"})


def other(name) -> LoadedDetector:
    """A small detector whose scores are far apart."""
    model = small(name)
    model.set_preprocessing((0.5,) * 3, (0.25,) * 3)
    if name == "dssd":  # whose products of maps are 0 before batch norm has seen any
        for seed in range(40):
            model(model.to_tensor([picture(64, 128, seed)]))
    model.eval()
    outputs = model.score_maps if name == "r-fcn" else model.head
    for layer in outputs.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            usual = 4 if isinstance(layer, nn.Conv2d) else 20
            layer.weight.data *= {"r-fcn": 40}.get(name, usual)
            if layer.bias is not None:
                layer.bias.data[:] = 0  # RetinaNet's believes in nothing yet
    if model.has_masks:
        model.mask_head.masks.weight.data *= 3e6
    if name == "yolo-v1":  # whose plain outputs are probabilities
        bias = model.head.output.bias
        bias.data[:] = np.random.default_rng(0).uniform(0, 0.9, bias.shape)
    return LoadedDetector(model, ["a", "b", "c"], [1, 2, 3], Path("x"), 0.4)


# Of the size that the network sees: so many boxes of noise lie near the limit of suppression that
# resizing, which rounds, would decide for some of them.
NOISE = [(str(width), picture(64, width, 20)) for width in (64, 90, 121)]


@pytest.mark.parametrize("name", OTHERS)
def test_other_detectors_find_what_we_find(tmp_path, name):
    result = EXPORTS["onnx"](other(name), tmp_path / "a.onnx", NOISE)
    assert result.pictures == 3 and result.detections > 20


def test_maps_for_large_pictures_only_cannot_be_said(tmp_path):
    changes = {**SMALL["ssd"].as_dict()}
    changes["neck"] = {**changes["neck"], "channels": (8, 8), "unpadded": 1}
    changes["head"] = {**changes["head"], "anchors": {"shapes": (((9, 9),),) * 5}}
    detector = LoadedDetector(DETECTORS["ssd"](1, **changes), ["a"], [1], Path("x"), 0.4)
    with pytest.raises(UserError, match="maps for large pictures only"):
        EXPORTS["onnx"](detector, tmp_path / "a.onnx", pictures())
    with pytest.raises(UserError, match="cannot become"):
        EXPORTS["torch"](detector, tmp_path / "a.pt", pictures())


@pytest.mark.parametrize(
    "options",
    [
        {"pooling_mode": "max"},
        {"objectness_share": 0.5},
        {"score_threshold": 0.3},
        {"max_detections": 5},
        {"score_threshold": 0.9999},
    ],
    ids=str,
)
def test_every_choice_of_the_second_stage(tmp_path, kind, options):
    detector = loaded()
    settings = detector.model.head.settings
    for name, value in options.items():
        path = name if hasattr(settings, name) else f"selector.{name}"
        settings = settings.changed(path, value)
    detector.model.head.settings = settings
    detector.model.settings = replace(detector.model.settings, head=settings)
    result = EXPORTS[kind](detector, tmp_path / f"a{SUFFIX[kind]}", pictures())
    assert (result.detections == 0) == (options == {"score_threshold": 0.9999})


@pytest.mark.parametrize("name", ["light-head-rcnn", *OTHERS])
def test_openvino_finds_the_same(name):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    is_ours = name == "light-head-rcnn"
    detector, shown = (loaded(), pictures()) if is_ours else (other(name), NOISE)
    content = onnx_file.detector_graph(detector).SerializeToString()
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    network = core.compile_model(core.read_model(content), "CPU")

    def theirs(image):
        found = network([image])
        masks = ["masks"] if detector.model.has_masks else []
        return {name: found[name] for name in ("boxes", "scores", "labels", *masks)}

    result = compare(CompiledDetector(detector.model), theirs, shown)
    assert result.pixels < 0.5 and result.detections > 20


def test_what_adaptive_sampling_does_cannot_be_said(tmp_path):
    detector = loaded(sampling_ratio=0)
    with pytest.raises(UserError, match="sampling_ratio 0"):
        EXPORTS["onnx"](detector, tmp_path / "a.onnx", pictures())
    assert not list(tmp_path.iterdir())


def test_the_file_says_what_its_labels_mean(tmp_path):
    EXPORTS["onnx"](loaded(), tmp_path / "a.onnx", pictures())
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert about == {"classes": '["a", "b", "c"]', "category_ids": "[1, 2, 3]", "score": "0.4"}
    assert [each.name for each in session.get_outputs()] == ["boxes", "scores", "labels"]


def test_pytorchs_file_needs_nothing_of_ours(tmp_path):
    pytest.importorskip("torch")
    detector = loaded()
    EXPORTS["torch"](detector, tmp_path / "a.pth", pictures())
    Image.fromarray(picture(90, 150)).save(tmp_path / "photo.png")
    code = tmp_path / "a.py"
    code.write_text("import sys; sys.modules.update(nn=None, detector=None)\n" + code.read_text())
    done = subprocess.run(
        [sys.executable, code, tmp_path / "photo.png"], cwd=tmp_path, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    (found,) = CompiledDetector(detector.model).predict([picture(90, 150)])
    assert len(done.stdout.splitlines()) == int((found["scores"] >= 0.4).sum()) > 0


def test_pytorchs_weights_have_our_names(tmp_path):
    torch = pytest.importorskip("torch")
    detector = loaded()
    EXPORTS["torch"](detector, tmp_path / "a.pth", pictures())
    state = torch.load(tmp_path / "a.pth", weights_only=True)
    ours = detector.model.state_dict()
    assert list(state) == list(ours)
    for name, array in ours.items():
        np.testing.assert_array_equal(state[name].numpy(), array)


def test_the_examples_of_the_page(tmp_path, monkeypatch, capsys):
    page = Path(__file__).parent.parent.joinpath("docs", "export.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    EXPORTS["onnx"](loaded(), Path("blood.onnx"), pictures())
    Image.fromarray(picture(90, 150)).save("photo.jpg", "png")
    for example in re.findall("```python\n(.*?)```", page, re.DOTALL):
        exec(example, {})
    assert "[" in capsys.readouterr().out and Path("resnet18.onnx").exists()


@pytest.mark.parametrize("name", OTHERS)
def test_after_some_lessons_it_finds_the_same_in_photographs(name):
    """At the size that the network sees, see ``NOISE``."""
    shapes, model = ShapesDataset(8, image_size=64), small(name, 4)
    optimizer = nn.optim.MomentumSGD(model.parameters(), lr=0.02)
    lessons = list(zip(*map(shapes.load, range(8)), strict=True))
    for _ in range(30):
        optimizer.zero_grad()
        sum(model.loss(*lessons).values()).backward()
        nn.optim.clip_grad_norm(model.parameters(), 10.0)
        optimizer.step()
    detector = LoadedDetector(model.eval(), shapes.classes, [1, 2, 3, 4], Path("x"), 0.4)
    theirs = onnx_file.runtime(onnx_file.detector_graph(detector).SerializeToString())
    photographs = []
    for path in sorted((real_data("coco-mini") / "train2017").glob("*.jpg"))[:6]:
        image = np.asarray(Image.open(path).convert("RGB"))
        photographs.append((path.name, resize(image, model.input_size(image.shape[:2]))))
    assert compare(CompiledDetector(model), theirs, photographs).detections > 20


@pytest.mark.parametrize("sides", [(64, 64), (90, 150), (33, 200), (1, 1), (100, 60)])
def test_yolo_v1_stretches_pictures_as_ours(sides):
    detector = other("yolo-v1")
    graph = onnx_file.detector_graph(detector).SerializeToString()
    result = compare(
        CompiledDetector(detector.model), onnx_file.runtime(graph), [("a", smooth(sides))]
    )
    assert result.detections > 20


def smooth(sides):
    small = Image.fromarray(picture(5, 5)).resize(sides[::-1], Image.Resampling.BICUBIC)
    return np.asarray(small)


def test_masks_are_compared():
    """Cell by cell: one that differs is seen."""
    detector = other("mask-rcnn")
    theirs = onnx_file.runtime(onnx_file.detector_graph(detector).SerializeToString())
    m = detector.model.mask_head.size
    for _, image in NOISE:
        (ours,), found = detector.model.predict([image]), theirs(image)
        assert found["masks"].shape == (len(found["boxes"]), m, m) == ours["masks"].shape
        np.testing.assert_allclose(found["masks"], ours["masks"], atol=1e-4)
        assert ours["masks"].std() > 0.01

    def wrong(image):
        found = theirs(image)
        found["masks"][0, 1, 2] += 0.05
        return found

    with pytest.raises(UserError, match="64: we find"):
        compare(CompiledDetector(detector.model), wrong, NOISE)


# What is not written


def wrong_graph(add_detector):
    def add(graph, image, model):
        boxes, *others = add_detector(graph, image, model)
        return graph.add("Add", boxes, 1.0), *others

    return add


def wrong_settings(two_stage):
    return lambda model: (two_stage(model)[0], two_stage(model)[1] | {"stds": (0.2, 0.2, 0.2, 0.2)})


def wrong_weights(read):
    def other(path):
        built = read(path)
        built.head.boxes.bias.data += 1
        return built

    return other


BROKEN = {
    "onnx": ("detector.tools.export.two_stage.add_detector", wrong_graph),
    "safetensors": ("detector.tools.export.safetensors_file.read", wrong_weights),
    "torch": ("detector.tools.export.torch_settings.two_stage", wrong_settings),
}


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch, kind):
    """The picture that shows it is named, and an older file stays."""
    path = tmp_path / f"a{SUFFIX[kind]}"
    EXPORTS[kind](loaded(), path, pictures())
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    name, broken = BROKEN[kind]
    monkeypatch.setattr(name, broken(pkgutil.resolve_name(name)))
    with pytest.raises(UserError, match=r"^90 x 150: we find label .* is not written$"):
        EXPORTS[kind](loaded(), path, pictures())
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def found(boxes, scores, labels):
    return {
        "boxes": np.float32(boxes).reshape(-1, 4),
        "scores": np.float32(scores),
        "labels": np.int64(labels),
    }


class Ours:
    model = SimpleNamespace(input_size=lambda own_size: own_size)

    def __init__(self, what):
        self.what = what

    def predict(self, images):
        return [self.what]


A, B = [0, 0, 10, 10], [20, 20, 30, 30]


@pytest.mark.parametrize(
    "theirs",
    [
        found([A], [0.9], [1]),  # one is missing
        found([A, B, [5, 5, 9, 9]], [0.9, 0.8, 0.7], [1, 2, 1]),  # one too many
        found([A, B], [0.9, 0.8], [1, 1]),
        found([A, [20, 20, 30, 30.6]], [0.9, 0.8], [1, 2]),
        found([A, B], [0.9, 0.85], [1, 2]),
        found([], [], []),
    ],
)
def test_every_difference_is_seen(theirs):
    ours = Ours(found([A, B], [0.9, 0.8], [1, 2]))
    with pytest.raises(UserError, match="a.jpg"):
        compare(ours, lambda image: theirs, [("a.jpg", picture(8, 8))])


def test_what_does_not_matter_is_no_difference():
    ours = Ours(found([A, B, A], [0.9, 0.8, 0.01], [1, 2, 2]))
    theirs = found([[20, 20.3, 30, 30], A], [0.795, 0.9], [2, 1])
    result = compare(ours, lambda image: theirs, [("a.jpg", picture(8, 8))])
    assert result.detections == 2 and result.pixels == pytest.approx(0.3, rel=1e-4)


def test_nothing_of_others_is_replaced(tmp_path, kind):
    path = tmp_path / f"a{SUFFIX[kind]}"
    detector = loaded()
    EXPORTS[kind](detector, path, pictures())
    EXPORTS[kind](detector, path, pictures())  # our own
    for file in list(tmp_path.iterdir()):
        own = file.read_bytes()
        file.write_bytes(b"mine")
        with pytest.raises(UserError, match="is there already"):
            EXPORTS[kind](detector, path, pictures())
        assert file.read_bytes() == b"mine"
        file.write_bytes(own)


# The picture


@pytest.mark.parametrize("size", [(90, 150), (480, 640), (333, 777), (40, 30), (1, 5), (777, 1201)])
def test_a_picture_is_made_what_our_network_reads(size):
    settings = ImageSettings(short_side=96, max_side=160)
    graph = Graph()
    batch, *sizes = picture_nodes.add_picture(
        graph, graph.input("image", np.uint8, [None, None, 3]), settings
    )
    graph.output("batch", batch, np.float32, [1, 3, None, None])
    for name, value in zip(("own", "seen", "padded"), sizes, strict=True):
        graph.output(name, value, np.int64, [2])
    session = onnxruntime.InferenceSession(graph.model("picture").SerializeToString())
    smooth = Image.fromarray(picture(9, 9)).resize(size[::-1], Image.Resampling.BICUBIC)
    image = np.asarray(smooth)
    batch, own, seen, padded = session.run(None, {"image": image})
    assert tuple(own) == size
    assert tuple(seen) == network_size_here(size, 96, 160)
    expected = to_batch([resize(image, tuple(seen))], settings.mean, settings.std)
    assert batch.shape == expected.shape and batch.shape[2:] == tuple(padded)
    step = 1 / 255 / min(settings.std)
    assert np.abs(batch - expected).max() < 1.01 * step  # one step of a byte, where it was rounded
    assert (np.abs(batch - expected) > 0.5 * step).mean() < 0.01


def test_sizes_are_rounded_as_ours():
    """All pictures up to a size, the middles between two whole numbers among them."""
    settings = ImageSettings(short_side=48, max_side=80)
    graph = Graph()
    own = graph.input("own", np.int64, [2])
    graph.output("size", picture_nodes.network_size(graph, own, settings), np.int64, [2])
    session = onnxruntime.InferenceSession(graph.model("size").SerializeToString())
    wrong = [
        (h, w)
        for h in range(1, 240, 3)
        for w in range(1, 240, 2)
        if tuple(session.run(None, {"own": np.array([h, w])})[0])
        != network_size_here((h, w), 48, 80)
    ]
    assert len(wrong) <= 0.001 * 80 * 120, wrong[:10]  # where our own product is rounded twice


# The command


@pytest.fixture
def weights(tmp_path):
    from detector.training import checkpoints

    built = model()
    about = {"detector": "light-head-rcnn", "config": built.config()}
    about |= {"classes": ["a", "b", "c"], "category_ids": [1, 2, 3]}
    checkpoints.write(tmp_path / "best.ckpt", "detection", built, about)
    return tmp_path / "best.ckpt"


def test_the_command(capsys, monkeypatch, tmp_path, weights):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, text, _ = run(capsys, "export", "--weights", weights, "--to", "onnx")
    assert code == 0 and text.startswith("best.onnx: the same ") and "in 10 pictures" in text
    Image.fromarray(picture(60, 60)).save(tmp_path / "here" / "a.png")
    (tmp_path / "here" / "notes.txt").write_text("x")
    args = ["--pictures", ".", "--out", "b.onnx"]
    code, text, _ = run(capsys, "export", "--weights", weights, "--to", "onnx", *args)
    assert code == 0 and "in 1 pictures" in text and Path("b.onnx").exists()


def test_the_commands_mistakes(capsys, monkeypatch, tmp_path, weights):
    monkeypatch.chdir(tmp_path)
    export = ["export", "--weights", weights, "--to"]
    assert "did you mean 'onnx'" in complaint(capsys, *export, "onx")
    assert "no folder" in complaint(capsys, *export, "onnx", "--out", "no/a.onnx")
    assert "best.ckpt" in complaint(capsys, *export, "onnx", "--pictures", weights)
    (tmp_path / "empty").mkdir()
    assert "no picture in" in complaint(capsys, *export, "onnx", "--pictures", tmp_path / "empty")
    assert "end it in .pth" in complaint(capsys, *export, "torch", "--out", "a.py")
    write_json(tmp_path / "best.onnx", {})
    assert "there already" in complaint(capsys, *export, "onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert 'pip install "lighthead[export]"' in complaint(
        capsys, *export, "onnx", "--out", "c.onnx"
    )
    assert not (tmp_path / "c.onnx").exists()
