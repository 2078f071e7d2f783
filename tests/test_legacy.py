"""What version 0.1.0 left behind still works: its files load, and what it began ends as it did.

``legacy/0.1.0`` holds a run that was stopped in its second epoch, a folder of ``lighthead
multitask joint`` whose server was stopped while one task waited for the other, what a site leaves,
and a backbone in three formats; all of it written by 0.1.0 itself, which also said what must come
of it (``expectations.json``, and in ``arrays.json`` a SHA-256 of each array). The bits of further
training are those of one kind of machine: on another, only the course is compared.
"""

import hashlib
import json
import lzma
import re
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numba
import numpy as np
import PIL
import pytest
from PIL import Image

from nn import checkpoint
from nn.weights import read_weights

ROOT = Path(__file__).parent.parent
LEGACY = Path(__file__).parent / "legacy" / "0.1.0"
EXPECTED = json.loads((LEGACY / "expectations.json").read_text())
ARRAYS = json.loads(lzma.decompress((LEGACY / "arrays.json.xz").read_bytes()))
MACHINE = {
    "processor": llvmlite.binding.get_host_cpu_name(),
    "numpy": np.__version__,
    "numba": numba.__version__,
    "pillow": PIL.__version__,
}


@pytest.fixture
def files(tmp_path) -> Path:
    """A copy of everything, unpacked."""
    folder = tmp_path / "0.1.0"
    shutil.copytree(LEGACY, folder)
    for packed in list(folder.rglob("*.xz")):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    return folder


def lighthead(*arguments) -> str:
    """A command in a process of its own; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "detector", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def leaves(tree, name=""):
    """The arrays of a tree, by their place in it."""
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(part, f"{name}/{key}")
    elif isinstance(tree, np.ndarray):
        yield name, tree


def digests(tree) -> dict[str, str]:
    return {
        name: hashlib.sha256(f"{a.dtype.str} {a.shape} ".encode() + a.tobytes()).hexdigest()
        for name, a in leaves(tree)
    }


def assert_ends_in(tree, expected: str) -> None:
    """The arrays have the bits of 0.1.0, or on another machine, numbers in them."""
    if MACHINE == EXPECTED["machine"]:
        lines = sorted(f"{name} {digest}\n" for name, digest in digests(tree).items())
        assert hashlib.sha256("".join(lines).encode()).hexdigest() == expected
    assert all(np.isfinite(array).all() for _, array in leaves(tree))


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "backbone"])
def test_every_array_is_read_as_it_was_written(files, name):
    found = {place: digest[:12] for place, digest in digests(checkpoint.load(files / name)).items()}
    assert found == ARRAYS[name]


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pth"])
def test_a_backbone_in_every_format(files, suffix):
    found = digests(read_weights(files / "backbone" / f"backbone.{suffix}"))
    assert {name: digest[:12] for name, digest in found.items()} == ARRAYS["backbone"]


def test_plain_values(files):
    last = checkpoint.load(files / "run" / "last.ckpt")
    assert last["position"] == EXPECTED["run"]["position"]
    assert last["detector"]["classes"] == ["circle", "square", "triangle", "star"]
    core = checkpoint.load(files / "multitask/snapshots/iteration-000000002.snapshot")["core"]
    assert set(core["versions"].values()) == {2, 3}  # the classifier waits for nobody
    assert {t["task"]: len(t["parameters"]) for t in core["tasks"]} == EXPECTED["multitask"][
        "names"
    ]
    waiting = [task["task"] for task in core["tasks"] if task["contributions"] is not None]
    assert waiting == EXPECTED["multitask"]["waiting"]


def test_a_run_detects(files, tmp_path):
    picture, found = tmp_path / "squares.png", tmp_path / "found.json"
    squares = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(squares.repeat(20, 0).repeat(20, 1)).save(picture)
    lighthead(
        "detect", "--weights", files / "run", picture, "--out", tmp_path / "out", "--json", found
    )
    predictions, expected = json.loads(found.read_text()), EXPECTED["run"]["predictions"]
    assert len(predictions) == len(expected)
    for one, other in zip(predictions, expected, strict=True):
        assert one["category_id"] == other["category_id"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.05)


@pytest.mark.parametrize("weights", ["run", "run/best.ckpt", "site"])
def test_evaluate(files, weights, tmp_path):
    """The figures are those that 0.1.0 wrote down beside these weights; a report can be made."""
    figures = json.loads((files / "run" / "evaluation.json").read_text())["figures"]
    table = lighthead(
        "evaluate", "--weights", files / weights, "--data", "shapes", "--split", "val",
        "--limit", "8", "--report", tmp_path / "report.html",
    )  # fmt: skip
    assert (tmp_path / "report.html").stat().st_size > 10_000
    found = dict(re.findall(r"^(A[PR]\w*) +([\d.]+) ", table, re.MULTILINE))
    measured = {name: figure for name, figure in figures.items() if figure is not None}
    assert {name: float(figure) for name, figure in found.items()} == pytest.approx(
        measured, abs=2e-3
    )


@pytest.mark.parametrize(
    "weights, pattern",
    [
        ("run", r"best.ckpt: loaded (\d+) of the detector's"),
        ("multitask/start.ckpt", r"start.ckpt: loaded (\d+) of the detector's"),
        ("backbone/backbone.pth", r"loaded (\d+) of \1 tensors from .*backbone.pth \(torchvision"),
    ],
)
def test_a_new_run_starts_from_old_weights(files, tmp_path, weights, pattern):
    text = lighthead(
        "train", "--init-from", files / weights, "--out", tmp_path / "new", "--data", "shapes",
        "--train", "val", "--limit", "2", "--short-side", "64", "--epochs", "1",
    )  # fmt: skip
    counters = sum("num_batches" in name for name in ARRAYS["backbone"])
    assert int(re.search(pattern, text)[1]) >= len(ARRAYS["backbone"]) - counters


def test_a_run_goes_on(files):
    run, expected = files / "run", EXPECTED["run"]["resumed"]
    config, before = ((run / name).read_bytes() for name in ("config.json", "metrics.csv"))
    assert "going on after iteration 6 of 12" in lighthead("train", "--resume", "--out", run)
    assert (run / "config.json").read_bytes() == config
    after = (run / "metrics.csv").read_bytes()
    assert after.startswith(before)
    columns, *rows = (line.split(",") for line in after.decode().splitlines())
    steps = [dict(zip(columns, row, strict=True)) for row in rows]
    steps = [step for step in steps if step["loss"]]
    assert [int(step["iteration"]) for step in steps] == list(range(1, expected["iteration"] + 1))
    # The first of them is computed from the old weights alone.
    assert float(steps[6]["loss"]) == pytest.approx(expected["losses"][0], rel=0.01)
    last = checkpoint.load(run / "last.ckpt")
    assert last["position"]["iteration"] == expected["iteration"]
    assert_ends_in(last, expected["sha256"])


def test_a_joint_training_goes_on(files):
    folder, expected = files / "multitask", EXPECTED["multitask"]
    text = lighthead("multitask", *expected["command"].split(), "--out", folder)
    assert "going on with the run in" in text and "AP50" in text
    newest = max((folder / "snapshots").iterdir())
    assert newest.name == f"iteration-{expected['resumed']['iteration']:09d}.snapshot"
    assert_ends_in(checkpoint.load(newest), expected["resumed"]["sha256"])
