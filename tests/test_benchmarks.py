"""The benchmarks: the twins compute what we compute, and the tables say what was measured."""

from __future__ import annotations

import importlib
import json
import subprocess

import numpy as np
import pytest

import lighthead
import nn
from benchmarks import bars, busy, cases, groups, memory, processors, report, run, turns
from benchmarks import command as bench
from benchmarks.agreement import largest_difference, missing_detections
from benchmarks.contestants import OURS, Contestant, PeerError, Process
from benchmarks.measurement import Measurement, Spread
from benchmarks.shares import KINDS
from detector import boxes
from detector.errors import UserError
from detector.parts.anchors import AnchorGenerator
from nn import functional as F

TINY = [
    cases.MatrixProduct(24),
    cases.Convolution(2, 6, 8, (3, 3), 1, 1, (7, 9), True),
    cases.Convolution(2, 6, 8, (1, 5), 1, 1, (7, 9), False, backward=True),
    cases.Convolution(2, 6, 6, (3, 3), 2, 6, (8, 10), False),
    cases.Convolution(2, 6, 6, (3, 3), 2, 6, (8, 10), False, backward=True),
    cases.Classifier(0.5, (64, 64), 2),
    cases.AnyNetwork("mobilenet_v2"),
    cases.ClassifierTraining(0.5, (64, 64), 2),
    cases.Network(0.5, (60, 96), 2),
    cases.Detection(0.5, (90, 128), 2),
    cases.DetectorTraining(0.5, (160, 160), 2),
]


def outputs_of(peer, case, variant=""):
    work = peer.build(case, case.arrays(), variant, 1)
    if work is None:
        return None
    for _ in range(case.calls):
        outputs = work()
    return outputs


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
def test_twins_in_pytorch_agree(case):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads would wait for work beside ours
    from benchmarks.peers import ours, torch_peer

    expected = outputs_of(ours, case)
    for variant in ("contiguous", "channels-last", "folded"):
        found = outputs_of(torch_peer, case, variant)
        if found is not None:
            assert case.difference(expected, found) <= case.tolerance, variant


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
@pytest.mark.parametrize(
    "library, name",
    [("onnxruntime", "onnx"), ("openvino", "openvino"), ("MNN", "mnn"), ("ncnn", "ncnn")],
)
def test_twins_in_onnx_agree(library, name, case):
    pytest.importorskip(library)
    pytest.importorskip("onnx")
    from benchmarks.peers import ours

    peer = importlib.import_module(f"benchmarks.peers.{name}_peer")
    found = outputs_of(peer, case)
    forward = (
        cases.MatrixProduct, cases.Convolution, cases.AnyNetwork, cases.Classifier, cases.Network,
    )  # fmt: skip
    assert (found is not None) == (type(case) in forward and not getattr(case, "backward", False))
    if found is not None:
        assert case.difference(outputs_of(ours, case), found) <= case.tolerance


def random_boxes(rng, count, size=100.0):
    corner = rng.uniform(-10, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, size / 2, (count, 2))], 1).astype("f4")


@pytest.mark.parametrize("count, limit", [(0, 10), (1, 10), (1500, 2000), (1500, 40)])
def test_pytorchs_suppression_is_ours(count, limit):
    torch = pytest.importorskip("torch")
    from benchmarks.peers import torch_boxes

    rng = np.random.default_rng(count)
    found = random_boxes(rng, count)
    scores = np.sort(rng.random(count))[::-1]
    kept = torch_boxes.nms(torch.from_numpy(found), 0.5, limit)
    np.testing.assert_array_equal(kept, boxes.nms(found, scores, 0.5, limit))
    labels = rng.integers(0, 5, count)
    kept = torch_boxes.nms(torch.from_numpy(found), 0.5, limit, torch.from_numpy(labels))
    expected = boxes.batched_nms(found, scores, labels, 0.5)[:limit]
    np.testing.assert_array_equal(kept, expected)


def test_pytorchs_region_pooling_is_ours():
    torch = pytest.importorskip("torch")
    from benchmarks.peers import torch_boxes

    rng = np.random.default_rng(0)
    thin = rng.standard_normal((2, 3 * 49, 5, 8)).astype(np.float32)
    rois = random_boxes(rng, 40, 260)
    rois[0] = 20, 30, 10, 20  # turned inside out
    rois = np.concatenate([rng.integers(0, 2, (40, 1)).astype(np.float32), rois], 1)
    ours, theirs = nn.Tensor(thin, requires_grad=True), torch.tensor(thin, requires_grad=True)
    expected = F.ps_roi_align(ours, rois, 7, 1 / 32)
    found = torch_boxes.ps_roi_align(theirs, torch.from_numpy(rois), 7, 1 / 32)
    np.testing.assert_allclose(found.detach(), expected.data, atol=1e-5)
    grad = rng.standard_normal(expected.shape).astype(np.float32)
    expected.backward(grad)
    found.backward(torch.from_numpy(grad))
    np.testing.assert_allclose(theirs.grad, ours.grad, atol=1e-4)


def test_pytorchs_anchors_and_deltas_are_ours():
    torch = pytest.importorskip("torch")
    from benchmarks.peers import torch_boxes

    grid = torch_boxes.anchor_grid((32.0, 64.0), (0.5, 2.0), 16, 3, 5)
    expected = AnchorGenerator((32.0, 64.0), (0.5, 2.0), 16).grid((3, 5))
    np.testing.assert_allclose(grid, expected, atol=1e-4)
    rng = np.random.default_rng(0)
    deltas = rng.normal(0, 2, expected.shape).astype(np.float32)
    found = torch_boxes.decode(torch.from_numpy(deltas), grid, (48, 80))
    np.testing.assert_allclose(
        found, boxes.clip(boxes.decode(deltas, expected), (48, 80)), atol=1e-3
    )
    wanted = random_boxes(rng, len(expected))
    found = torch_boxes.encode(torch.from_numpy(wanted), grid, torch.ones(4))
    np.testing.assert_allclose(found, boxes.encode(wanted, expected), rtol=1e-4, atol=1e-5)


# Agreement


def test_a_wrong_order_of_channels_is_a_difference():
    array = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    assert largest_difference([array], [array.copy()]) == 0
    assert largest_difference([array], [array[:, ::-1]]) > 0.1
    assert largest_difference([array], [array[:1]]) == np.inf
    assert largest_difference([array], [array * np.nan]) == np.inf
    assert largest_difference([np.zeros(3)], [np.zeros(3)]) == 0


def test_detections_may_differ_in_order_only():
    rng = np.random.default_rng(0)
    found = [random_boxes(rng, 10), np.linspace(1, 0.1, 10), rng.integers(1, 4, 10)]
    swapped = [part[::-1] for part in found]
    assert missing_detections(found, swapped) == 0
    assert missing_detections(found, [found[0] + 1, *found[1:]]) == 1
    assert missing_detections(found, [*found[:2], found[2] + 1]) == 1
    assert missing_detections(found, [part[:8] for part in found]) == pytest.approx(0.2)
    nothing = [np.zeros((0, 4)), np.zeros(0), np.zeros(0)]
    assert missing_detections(nothing, nothing) == 0
    assert missing_detections(found, nothing) == 1


# Counting


def test_convolutions_are_those_of_the_network():
    found = groups.convolutions_of(cases.Network(1.0, (64, 64)), (64, 64), 1)
    network = cases.Network(1.0, (64, 64))
    head = cases.ROIS * network.head_multiply_adds
    assert sum(case.times * case.multiply_adds for case in found) == network.multiply_adds - head
    assert head == 1000 * (490 * 2048 + 2048 * 81 + 2048 * 4)
    assert len(set(found)) == len(found)


def test_training_counts_three_times():
    size = (32, 32)
    once = cases.Classifier(0.5, size).multiply_adds
    assert cases.ClassifierTraining(0.5, size, 4).multiply_adds == 12 * once


@pytest.mark.parametrize("group", groups.DESCRIPTIONS)
def test_cases_have_names_of_their_own(group):
    for quick in (False, True):
        names = [case.name for case in groups.cases_of(group, quick)]
        assert names and (group == "ops" or len(set(names)) == len(names))


def test_high_water_mark_rises():
    before = memory.high_water_mark()
    block = np.ones(8 * 2**20)  # 64 MB
    assert memory.high_water_mark() >= before and memory.resident() > 0
    assert memory.high_water_mark() >= block.nbytes


def test_threads_can_be_spread():
    processors.spread_threads()
    assert processors.seconds_waited() >= 0


# Tables


def measurement(case=bars.SMALL, **rounds) -> Measurement:
    """Seconds by contestant, rounds of two threads."""
    result = Measurement("group", case.name, 10**6)
    result.rounds = {(name.replace("_", " "), 2): times for name, times in rounds.items()}
    return result


def test_ratios_are_taken_within_a_round():
    measured = measurement(lighthead=[1, 10, 100], ONNX_Runtime=[2, 20, 200])
    assert measured.against("ONNX Runtime", 2) == Spread(0.5, 0.5, 0.5)
    assert measured.against("ONNX Runtime", 1) is None
    assert measured.against(None, 2) is None


def test_the_better_layout_counts():
    measured = measurement(PyTorch=[3, 3, 3])
    assert measured.eager(2) == "PyTorch"
    measured.rounds["PyTorch channels-last", 2] = [4, 2, 2]
    assert measured.eager(2) == "PyTorch channels-last" and measured.eager(1) is None


def test_group_table():
    measured = measurement(lighthead=[0.002] * 3, PyTorch=[0.004, 0.004, 0.008])
    text = report.group_table([measured], {2: 10.0})
    assert text.splitlines()[-1] == (
        f"| {bars.SMALL.name} | 2 | 2.0 ms | 1 | 10% | 4.0 ms | 0.50 (0.38-0.50) |"
    )
    assert "ONNX" not in text  # nobody's column


def test_memory_table():
    measured = measurement(lighthead=[1])
    measured.memory = {"lighthead": {"peak": 300 * 2**20, "imports": 100 * 2**20}}
    assert report.memory_table([measured]).splitlines()[-1] == f"| {measured.name} | 300 (100) |"


def test_scaling_table():
    measured = measurement(lighthead=[2, 2], PyTorch=[3, 3])
    measured.rounds["lighthead", 1] = [3, 5]
    line = report.scaling_table([measured], 2).splitlines()[-1]
    assert line == f"| {measured.name} | 2.00 (1.75-2.25) | - |"


def test_busy_table():
    quiet, beside = measurement(lighthead=[2, 2]), measurement(lighthead=[6, 4])
    quiet.rounds["lighthead", 1], beside.rounds["lighthead", 1] = [4, 4], [5, 5]
    quiet.rounds["PyTorch", 2] = beside.rounds["PyTorch", 2] = [7, 7]
    ours, theirs = report.busy_table([quiet], [beside], 2).splitlines()[-2:]
    times = "4000.0 ms | 2000.0 ms | 0.50 (0.50-0.50) | 5000.0 ms | 5000.0 ms | 1.00 (0.90-1.10)"
    assert ours == f"| {quiet.name} | lighthead | {times} |"
    assert theirs == f"| {quiet.name} | PyTorch | - | 7000.0 ms | - | - | 7000.0 ms | - |"
    (line,) = busy.lines([beside], 2)
    assert line.value.median == 1 and line.holds


def test_shares_table():
    seconds = dict(zip(KINDS, (0.006, 0.001, 0.002, 0.001, 0.0), strict=True))
    line = report.shares_table({"ours": seconds}).splitlines()[-1]
    assert line == "| ours | 10.0 ms | 60% | 10% | 20% | 10% | 0% |"


@pytest.mark.parametrize("peer", ["ours", "torch_peer", "onnx_peer"])
def test_shares_add_up(peer):
    for library in {"torch_peer": ["torch"], "onnx_peer": ["onnx", "onnxruntime"]}.get(peer, []):
        pytest.importorskip(library)
    case = cases.Classifier(0.5, (64, 64))
    with turns.Turns([Contestant("one", peer)]) as contest:
        found = contest.shares(case)
    assert found
    for seconds in found.values():
        assert list(seconds) == list(KINDS) and min(seconds.values()) >= 0
        assert seconds["convolution"] > 0
    if peer == "ours":
        assert found["ours", "compiled"]["shuffle"] == found["ours", "compiled"]["data"] == 0
        assert found["ours", "plain"]["shuffle"] > 0


def test_bars():
    measured = measurement(lighthead=[0.3] * 3, PyTorch=[1.0] * 3)
    measured.rounds["lighthead", 1] = [0.45] * 3
    grown = measurement(bars.GROWN, lighthead=[4.5] * 3)
    found = {line.what: line for line in bars.lines([measured, grown], 2)}
    eager = found[f"{bars.SMALL.name}, 2 threads: ours / PyTorch eager"]
    assert eager.value.median == pytest.approx(0.3) and eager.holds
    onnx = found[f"{bars.SMALL.name}, 2 threads: ours / ONNX Runtime"]
    assert onnx.value is None and onnx.holds is None
    speed_up = found[f"{bars.SMALL.name}: 2 threads against 1"]
    assert speed_up.value.median == pytest.approx(1.5) and speed_up.holds is False
    growth = found[f"{bars.GROWN.name} / {bars.SMALL.name}, 2 threads"]
    assert growth.value.median == pytest.approx(15) and growth.holds
    text = report.bars_table(list(found.values()))
    assert "| 1.50 (1.50-1.50) | >= 1.6 | **no** |" in text
    assert "| - | <= 0.9 | not measured |" in text


def test_memory_bar_compares_with_the_better_layout():
    measured = measurement(groups.TRAINING[0], lighthead=[1])
    measured.memory = {
        name: {"peak": peak, "imports": 0}
        for name, peak in (("lighthead", 90), ("PyTorch", 100), ("PyTorch channels-last", 80))
    }
    (line,) = [line for line in bars.lines([measured], 2) if "memory" in line.what]
    assert line.value.median == 90 / 80 and line.holds is False


# Runs


def test_a_quick_run(tmp_path, monkeypatch, capsys):
    """Of one tiny case, with ONNX Runtime not installed."""
    fake = tmp_path / "onnxruntime.py"
    fake.write_text("raise ModuleNotFoundError('No module named onnxruntime')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(run, "ALL", (OURS, Contestant("ONNX Runtime", "onnx_peer")))
    monkeypatch.setattr(run, "PEAK", cases.MatrixProduct(32))
    monkeypatch.setattr(run, "QUICK", turns.Pace(2, 0.0))
    monkeypatch.setattr(run, "FULL", turns.Pace(2, 0.0))
    monkeypatch.setattr(run, "cases_of", lambda group, quick: [TINY[1]])
    run.Run([1], True, tmp_path / "out").groups(["ops"])
    output = capsys.readouterr()
    assert "without ONNX Runtime" in output.err and run.INSTALL in output.err
    text = (tmp_path / "out" / "report.md").read_text()
    assert f"| {TINY[1].name} | 1 |" in text and text.splitlines()[0] in output.out
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["name"] == TINY[1].name and len(result["rounds"][0][2]) == 2


def test_a_busy_run(tmp_path, monkeypatch, capsys):
    """Of one tiny case: the loops are there for the second half, and gone in the end."""
    loops, popen = [], subprocess.Popen

    def start(command, **options):
        loops.append(popen(command, **options))
        return loops[-1]

    monkeypatch.setattr(run, "ALL", (OURS,))
    monkeypatch.setattr(run, "PEAK", cases.MatrixProduct(32))
    monkeypatch.setattr(run, "QUICK", turns.Pace(2, 0.0))
    monkeypatch.setattr(busy, "CASES", (cases.Classifier(0.5, (64, 64)),))
    monkeypatch.setattr(busy.subprocess, "Popen", start)
    run.Run([1], True, tmp_path / "out").groups(["busy"])
    assert all(loop.wait(10) != 0 for loop in loops if "-S" in loop.args)
    assert sum("-S" in loop.args for loop in loops) == turns.all_threads()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    names = [result["name"] for result in results[-2:]]
    assert names[1] == f"{names[0]}, beside {turns.all_threads()} loops"
    assert [len(result["rounds"][0][2]) for result in results[-2:]] == [2, 2]
    assert "## busy" in capsys.readouterr().out


def test_a_report_replaces_a_report_only(tmp_path):
    bench = run.Run([1], True, tmp_path / "out")
    for _ in range(2):  # a run that was stopped after its first picture has begun a report too
        bench.claim()
        (tmp_path / "out" / "ops.png").touch()
    (tmp_path / "out" / "report.md").write_text("# My report")
    with pytest.raises(UserError, match="out holds no report but other files"):
        bench.claim()
    assert (tmp_path / "out" / "report.md").read_text() == "# My report"


def test_a_peer_that_fails_says_why_in_one_line():
    with Process("ours") as process:
        with pytest.raises(PeerError, match="KeyError"):
            process.call("build", 7, "", 1)
        process.call("take", 0, TINY[0], TINY[0].arrays())
        assert process.call("build", 0, "", 1)[0].shape == (24, 24)
        process.process.kill()
        with pytest.raises(PeerError, match="ended"):
            process.call("describe")


def test_a_peer_that_disagrees_is_left_out():
    case = cases.MatrixProduct(8)
    object.__setattr__(case, "tolerance", -1.0)  # nobody can please it
    with turns.Turns([OURS]) as contest:
        (measured,) = contest.measure("group", [case], [1], turns.Pace(1, 0.0))
    assert measured.rounds == {} and "differ" in measured.absent["lighthead"]


def test_unknown_groups_are_refused_with_the_known_ones():
    parser = bench.argparse.ArgumentParser()
    bench.add_arguments(parser)
    with pytest.raises(UserError, match="trainig.*did you mean 'training'"):
        bench.run(parser.parse_args(["trainig"]))


def test_without_the_repository_bench_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr(lighthead, "__file__", str(tmp_path / "lighthead.py"))
    monkeypatch.setattr(lighthead.sys, "path", [])
    for name in [name for name in lighthead.sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(lighthead.sys.modules, name)
    with pytest.raises(UserError, match="needs the folder benchmarks of the repository"):
        lighthead.find_command("bench")
