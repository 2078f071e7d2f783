"""From a video or a webcam to upright RGB frames, by PyAV (the extra ``video``).

PyAV is FFmpeg in Python (https://pyav.basswood-io.com). It gets an open file and not a name, which
it might take for an address.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detector.datasets.images import MAX_PIXELS
from detector.errors import UserError

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
    ".mts", ".m2ts", ".ts", ".ogv",
)  # fmt: skip
WEBCAM = "webcam"  # or webcam:WHICH
# FFmpeg's name of each system's webcams, how one is called, and which is taken if none is named.
WEBCAMS = {
    "linux": ("v4l2", "/dev/video{}", "0"),
    "darwin": ("avfoundation", "{}", "0"),
    "win32": ("dshow", "video={}", ""),
}
USUAL_RATE = 30  # frames a second, where a file does not say
SLACK = 1.0  # seconds that the picture may end before the sound
MICROSECONDS = 1_000_000  # FFmpeg's unit of durations


class Frame(NamedTuple):
    """image (H, W, 3) uint8 RGB; number from 1; seconds since the first frame."""

    image: np.ndarray
    number: int
    seconds: float


def is_webcam(path: Path) -> bool:
    return str(path).partition(":")[0] == WEBCAM and not os.path.lexists(path)


def is_video(path: Path) -> bool:
    """Whether a path is called like a video or means a webcam."""
    return path.suffix.lower() in VIDEO_SUFFIXES or is_webcam(path)


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a video, one after the other, as its display matrix turns them (in quarters);
    those of a webcam do not end.

    Raises:
        UserError: there is no PyAV or no such video; or, after the last frame that can be read, it
            is damaged or cut off.
    """
    with opened(path) as (container, ffmpeg_error):
        stream = container.streams.video[0]
        number, seconds, end, first, is_damaged = 0, 0.0, 0.0, None, False
        try:
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except ffmpeg_error:
                    is_damaged = True  # the next ones may be whole
                    continue
                for frame in decoded:
                    number += 1
                    time = number / USUAL_RATE if frame.time is None else frame.time
                    first = time if first is None else first
                    seconds = time - first
                    end = seconds + float((frame.duration or 0) * (frame.time_base or 0))
                    yield Frame(upright(frame), number, seconds)
        except ffmpeg_error:
            is_damaged = True
        duration = (container.duration or 0) / MICROSECONDS
        if container.format.name == "avi" and stream.base_rate:
            duration = stream.frames / stream.base_rate  # the other is that of what is there
        if is_damaged or not number or end + SLACK < 0.9 * duration:
            raise UserError(
                f"{path} is damaged or cut off: {number} frames could be read, up to second "
                f"{seconds:.1f}"
            )


def count_frames(path: Path) -> int | None:
    """How many there are, by what the video says of itself; None if it does not, as a webcam.

    Raises:
        UserError: as ``read_frames``.
    """
    if is_webcam(path):
        return None
    with opened(path) as (container, _):
        stream = container.streams.video[0]
        duration = (container.duration or 0) / MICROSECONDS
        return stream.frames or round(duration * (stream.average_rate or 0)) or None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple]:
    """PyAV's container, which has a video stream that can be decoded, and its kind of error."""
    try:
        import av
    except ImportError:
        raise UserError(f"{path} needs PyAV: pip install 'lighthead[video]'") from None
    with contextlib.ExitStack() as stack:
        try:
            if is_webcam(path):
                device, name = webcam(path)
                container = av.open(name, format=device)
            elif path.is_file():
                file = stack.enter_context(open(path, "rb"))
                container = av.open(file, metadata_errors="replace")
            else:
                raise UserError(f"{path} does not exist, or is no file")
        except (av.FFmpegError, OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"{path} is no video, or one that was cut off ({why})") from None
        stack.enter_context(container)
        stream = next(iter(container.streams.video), None)
        context = None if stream is None else stream.codec_context
        if context is None:
            raise UserError(f"{path} has no pictures that PyAV could read")
        if context.width * context.height > MAX_PIXELS:
            raise UserError(
                f"{path} has {context.width} x {context.height} pixels, more than {MAX_PIXELS:,}"
            )
        yield container, av.FFmpegError


def webcam(path: Path) -> tuple[str, str]:
    """FFmpeg's name of the system's webcams, and of the one that is meant.

    Raises:
        UserError: that is not known here.
    """
    _, _, which = str(path).partition(":")
    device, name, first = WEBCAMS.get(sys.platform, ("", "", ""))
    if not device or not (which or first):
        raise UserError(f"which one is {path}? Say {WEBCAM}:NAME, as the system calls it")
    return device, name.format(which or first)


def upright(frame) -> np.ndarray:
    """PyAV's frame as (H, W, 3) uint8 RGB. Its rotation is in degrees, against the clock."""
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
