"""Videos: seen frame by frame like pictures, drawn calmly, and kept as far as they can be read."""

from __future__ import annotations

import builtins
import csv
import json
import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from field_cases import complaint, run
from PIL import Image
from test_detector_own_files import contents, weights  # noqa: F401

from detector import own_files
from detector.datasets import video
from detector.errors import UserError
from detector.results.steady import GAP, Steady
from detector.results.videos import video_file

av = pytest.importorskip("av", reason="no PyAV: pip install 'lighthead[video]'")

TIMES = (0, 1, 2, 5, 6, 20, 21, 22, 23, 24, 25, 26)  # of frames, in 25ths of a second


def scene(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame: red top left, green top right, blue below, and a white square that moves."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 220
    image[: height // 2, width // 2 :, 1] = 220
    image[height // 2 :, :, 2] = 220
    image[20:40, 2 * number : 2 * number + 20] = 255
    return image


def write_video(path: Path, count: int = 12, size=(96, 64), codec="mpeg4", times=TIMES, **options):
    """With PyAV alone; ``times`` in 25ths of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, 25)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(scene(number, *size), format="rgb24")
            frame.pts, frame.time_base = times[number], Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path: Path) -> list[tuple[float, np.ndarray]]:
    """The frames by PyAV alone: seconds and pixels."""
    with av.open(str(path)) as container:
        return [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def rows_of(path: Path) -> list[dict]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_detections_as_on_extracted_frames(capsys, weights, tmp_path):  # noqa: F811
    clip = write_video(tmp_path / "clip.mp4")
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, (_, image) in enumerate(decoded(clip), start=1):
        Image.fromarray(image).save(frames / f"{number:03d}.png")
    options = ["--weights", weights, "--score", 0]
    out, other = tmp_path / "out", tmp_path / "other"
    more = ["--json", tmp_path / "v.json", "--crops", "--labels", "yolo"]
    code, text, errors = run(capsys, "detect", clip, "--out", out, *options, *more)
    assert code == 0, errors
    assert "12 frames, " in text and " a second, " in text
    assert (
        run(capsys, "detect", frames, "--out", other, *options, "--json", tmp_path / "f.json")[0]
        == 0
    )

    found, expected = rows_of(out / "detections.csv"), rows_of(other / "detections.csv")
    assert len(found) == len(expected) > 12
    for row, wanted in zip(found, expected, strict=True):
        assert row["picture (lighthead)"] == str(clip)
        assert f"{int(row['frame']):03d}.png" == Path(wanted["picture (lighthead)"]).name
        assert float(row["seconds"]) == pytest.approx(TIMES[int(row["frame"]) - 1] / 25, abs=1e-3)
        for name in ("class", "score", "x1", "y1", "x2", "y2"):
            assert row[name] == wanted[name]
    counts = rows_of(out / "counts.csv")
    assert [int(row["frame"]) for row in counts] == list(range(1, 13))
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("v.json", "f.json"))
    assert [(e["image_id"], e["bbox"], e["score"]) for e in one] == [
        (e["image_id"], e["bbox"], e["score"]) for e in two
    ]
    assert {path.name for path in out.iterdir()} == {
        "clip.mp4", "detections.csv", "counts.csv", "crops", "labels-yolo",
    }  # fmt: skip
    assert sum(path.is_file() for path in (out / "crops").rglob("*")) == len(found)
    assert len(list((out / "labels-yolo" / "images").iterdir())) == 12


def test_the_video_has_every_frame_at_its_time(capsys, weights, tmp_path):  # noqa: F811
    clip = write_video(tmp_path / "clip.mkv")
    out = tmp_path / "out"
    for _ in range(2):  # the second one replaces the first
        assert run(capsys, "detect", "--weights", weights, clip, "--out", out, "--score", 1)[0] == 0
    assert own_files.is_own_video(out / "clip.mp4") and not own_files.is_own_video(clip)
    frames = decoded(out / "clip.mp4")
    assert [time for time, _ in frames] == pytest.approx([time / 25 for time in TIMES], abs=1e-4)
    for (_, image), (_, source) in zip(frames, decoded(clip), strict=True):
        small = image[2::5, 2::5].astype(int)  # enlarged, as small pictures are
        assert small.shape == source.shape and np.abs(small - source).mean() < 8


@pytest.mark.parametrize("size", [(97, 63), (641, 481), (500, 2)])
def test_odd_sizes(tmp_path, size):
    image = scene(3, *size)
    with video_file(tmp_path / "a.mp4") as write:
        for number in range(3):
            write(image, number / 25)
        write(image[:, :-1], 0.05)  # of another size, and too early
    frames = decoded(tmp_path / "a.mp4")
    assert len(frames) == 4 and [t for t, _ in frames] == sorted({t for t, _ in frames})
    assert frames[0][1].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)
    # Pure colours come back, so the player is told the right conversion.
    if size[1] > 60:
        np.testing.assert_allclose(frames[0][1][5, 5], [220, 0, 0], atol=12)
        np.testing.assert_allclose(frames[0][1][5, size[0] - 9], [0, 220, 0], atol=12)


def test_a_video_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), video_file(tmp_path / "a.mp4") as write:
        write(scene(0), 0.0)
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_pyav_without_the_codec(capsys, weights, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("detector.results.videos.CODEC", "no-such-codec")
    clip, out = write_video(tmp_path / "clip.mp4"), tmp_path / "out"
    line = complaint(capsys, "detect", "--weights", weights, clip, "--out", out)
    assert "this PyAV does not write no-such-codec" in line
    assert {path.name for path in out.iterdir()} == {"detections.csv", "counts.csv"}


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turned_videos(tmp_path, degrees):
    """A player's matrix (ISO/IEC 14496-12, 6.2.2) is written into the file by hand."""
    path = write_video(tmp_path / "phone.mp4", count=2)
    content = bytearray(path.read_bytes())
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]  # clockwise
    at = content.index(b"tkhd") + 44
    parts = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    content[at : at + 36] = struct.pack(">9i", *parts)
    path.write_bytes(content)
    image = next(iter(video.read_frames(path))).image
    expected = np.asarray(Image.fromarray(scene(0)).rotate(-degrees, expand=True))
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_truncated_video(capsys, weights, tmp_path, suffix):  # noqa: F811
    """What comes before is kept; what has no beginning is one line."""
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    times = range(60)
    clip = write_video(tmp_path / f"clip.{suffix}", 60, times=times, **options)
    clip.write_bytes(clip.read_bytes()[: int(0.5 * clip.stat().st_size)])
    out = tmp_path / "out"
    photo = tmp_path / "photo.png"
    Image.fromarray(scene(0)).save(photo)
    code, _, errors = run(capsys, "detect", "--weights", weights, clip, photo, "--out", out)
    assert code == 2 and errors.count("\n") == 1
    assert f"clip.{suffix} is damaged or cut off: " in errors
    kept = len(decoded(out / "clip.mp4"))
    assert 1 < kept < 50 and f"{kept} frames could be read" in errors
    assert len(rows_of(out / "counts.csv")) == kept + 1 and (out / "photo.png").exists()


def test_what_is_no_video(capsys, weights, tmp_path):  # noqa: F811
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # the index is at the end
    (tmp_path / "text.mp4").write_bytes(b"no video at all\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    out = tmp_path / "out"
    for name in ("half.mp4", "text.mp4", "empty.mp4", "sound.mp4", "list.mp4", "missing.mp4"):
        line = complaint(capsys, "detect", "--weights", weights, tmp_path / name, "--out", out)
        assert str(tmp_path / name) in line
        assert not (out / name).exists()
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.mp4")
        complaint(capsys, "detect", "--weights", weights, tmp_path / "pipe.mp4", "--out", out)


def test_without_pyav(capsys, weights, tmp_path, monkeypatch):  # noqa: F811
    clip = write_video(tmp_path / "clip.mp4")
    real = builtins.__import__

    def without(name, *rest):
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    line = complaint(capsys, "detect", "--weights", weights, clip, "--out", tmp_path / "out")
    assert f"{clip} needs PyAV: pip install 'lighthead[video]'" in line


def test_nothing_of_the_users_is_replaced(capsys, weights, tmp_path):  # noqa: F811
    clip = write_video(tmp_path / "mine" / "clip.mp4")
    write_video(tmp_path / "out" / "clip.mp4", count=3)
    before = contents(tmp_path)
    line = complaint(capsys, "detect", "--weights", weights, clip, "--out", tmp_path / "out")
    assert "clip.mp4 is there already" in line
    line = complaint(capsys, "detect", "--weights", weights, clip, "--out", tmp_path / "mine")
    assert "holds clip.mp4 itself" in line
    with pytest.raises(UserError, match="is there already"):
        video_file(clip).__enter__()
    assert contents(tmp_path) == before


def test_a_webcam(capsys, weights, tmp_path, monkeypatch):  # noqa: F811
    """A file stands for the camera; what the system would open is compared by name."""
    clip = write_video(tmp_path / "camera.avi")
    monkeypatch.setattr("sys.platform", "linux")
    assert video.webcam(Path("webcam")) == ("v4l2", "/dev/video0")
    assert video.webcam(Path("webcam:2")) == ("v4l2", "/dev/video2")
    monkeypatch.setattr("sys.platform", "darwin")
    assert video.webcam(Path("webcam")) == ("avfoundation", "0")
    monkeypatch.setattr("sys.platform", "win32")
    assert video.webcam(Path("webcam:My Cam")) == ("dshow", "video=My Cam")
    line = complaint(capsys, "detect", "--weights", weights, "webcam", "--out", tmp_path / "out")
    assert "webcam:NAME" in line
    monkeypatch.setitem(video.WEBCAMS, "win32", ("avi", str(clip), "0"))
    monkeypatch.chdir(tmp_path)
    code, text, errors = run(capsys, "detect", "--weights", weights, "webcam", "--out", "out")
    assert code == 0, errors
    assert "12 frames" in text and len(decoded(tmp_path / "out" / "webcam.mp4")) == 12


def test_an_end_by_ctrl_c_keeps_what_was_done(capsys, weights, tmp_path, monkeypatch):  # noqa: F811
    import detector.commands.detect as command

    clip = write_video(tmp_path / "clip.mp4")
    real = command.Finder.look
    seen = []

    def look(self, *arguments):
        seen.append(1)
        if len(seen) == 5:
            os.kill(os.getpid(), command.InterruptionWatch.SIGNALS[0])
        return real(self, *arguments)

    monkeypatch.setattr(command.Finder, "look", look)
    out = tmp_path / "out"
    code, _, errors = run(capsys, "detect", "--weights", weights, clip, "--out", out)
    assert code == 130 and "what was found until then is in" in errors
    assert len(decoded(out / "clip.mp4")) == len(rows_of(out / "counts.csv")) == 5


# ----------------------------------------------------------------------------- a steady picture


def shown(*boxes, labels=None, score=0.9):
    count = len(boxes)
    return {
        "boxes": np.float32(boxes).reshape(-1, 4),
        "labels": np.int64(labels or [1] * count),
        "scores": np.full(count, score, np.float32),
    }


def test_trembling_is_smoothed_and_motion_is_followed():
    rng = np.random.default_rng(0)
    steady, box, drawn = Steady(), np.array([100, 100, 200, 180.0]), []
    given = [box + rng.normal(0, 2, 4) for _ in range(100)]
    for number, each in enumerate(given):
        drawn.append(steady.follow(shown(each), number / 25)["boxes"][0])
    assert np.std(np.diff(drawn, axis=0)) < 0.5 * np.std(np.diff(given, axis=0))
    for number in range(100, 140):  # ten pixels a frame
        box = box + [10, 0, 10, 0]
        (found,) = steady.follow(shown(box), number / 25)["boxes"]
        assert np.abs(found - box).max() < 25


def test_a_box_that_is_missed_for_a_moment_stays():
    steady = Steady()
    steady.follow(shown([0, 0, 10, 10]), 0.0)
    assert len(steady.follow(shown(), GAP / 2)["boxes"]) == 1
    assert len(steady.follow(shown(), 1.1 * GAP)["boxes"]) == 0


def test_masks_go_with_their_boxes():
    steady = Steady()
    one, two = np.zeros((28, 28), np.float32), np.ones((28, 28), np.float32)
    places = [[0, 0, 50, 50], [200, 0, 250, 50]]
    steady.follow(shown(*places) | {"masks": np.stack([one, two])}, 0.0)
    again = steady.follow(shown(places[1], places[0]) | {"masks": np.stack([two, one])}, 0.04)
    np.testing.assert_array_equal(again["masks"], [one, two])
    missed = steady.follow(shown() | {"masks": np.zeros((0, 28, 28), np.float32)}, 0.08)
    np.testing.assert_array_equal(missed["masks"], [one, two])
    gone = steady.follow(shown() | {"masks": np.zeros((0, 28, 28), np.float32)}, 1.0)
    assert gone["masks"].shape == (0, 28, 28)


def test_neighbours_and_other_classes_are_not_mixed():
    steady = Steady()
    one, two = [0, 0, 50, 50], [30, 0, 80, 50]
    steady.follow(shown(one, two, labels=[1, 2]), 0.0)
    again = steady.follow(shown(two, one, labels=[2, 1]), 0.04)
    np.testing.assert_allclose(again["boxes"], [one, two])
    assert again["labels"].tolist() == [1, 2]
    assert again["boxes"].dtype == np.float64 and again["scores"].shape == (2,)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "mpg"])
def test_damaged_videos_are_read_as_far_as_they_can_be(tmp_path, suffix):
    """Bytes anywhere in it are changed: frames, then at most the one line, and no other error."""
    codec = "mpeg1video" if suffix == "mpg" else "mpeg4"
    whole = write_video(tmp_path / f"whole.{suffix}", codec=codec, times=range(12)).read_bytes()
    rng = np.random.default_rng(0)
    path, complaints = tmp_path / f"clip.{suffix}", 0
    for _ in range(25):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(content), 30)
        content[places] = rng.integers(0, 256, 30)
        path.write_bytes(content.tobytes())
        try:
            for frame in video.read_frames(path):
                assert frame.image.shape[2] == 3 and frame.image.dtype == np.uint8
            video.count_frames(path)
        except UserError as error:
            complaints += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert complaints
