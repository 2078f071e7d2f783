"""The videos with their detections drawn in, as MP4."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from detector import own_files
from detector.datasets.video import USUAL_RATE
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.results.result import Job, Look, Result, Source
from detector.results.steady import Steady
from nn.files import atomic_file

CLOCK = Fraction(1, 90_000)  # seconds: a multiple of it lies between the frames of all usual rates
CODEC = "h264"
H264 = {"preset": "veryfast", "crf": "20"}  # x264's: quick, and hardly a difference to be seen
BT709 = 1  # ITU-R's colours for high definition, by FFmpeg's number


class Videos(Result):
    """An MP4 for each video, with each frame at its time; without sound."""

    def __init__(self, job: Job):
        super().__init__(job)
        self.current: Source | None = None
        self.files = contextlib.ExitStack()

    def add(self, look: Look) -> None:
        if not look.source.is_video:
            return
        if look.source != self.current:
            self.finish()
            self.current, self.steady = look.source, Steady()
            self.write = self.files.enter_context(video_file(self.job.out / look.source.result))
        drawn = self.steady.follow(look.shown, look.seconds)
        picture = draw_detections(
            look.image, drawn["boxes"], drawn["labels"], drawn["scores"], self.job.classes,
            drawn.get("masks"),
        )  # fmt: skip
        self.write(picture, look.seconds)

    def finish(self) -> list[str]:
        self.files.close()
        return []


@contextlib.contextmanager
def video_file(path: Path) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Write an MP4 that we recognise as ours; it appears when the ``with`` block ends well.

    Yields:
        a function that writes a frame, (H, W, 3) uint8 RGB, to be shown from so many seconds on.
        The first one says how large the video is, a pixel more where it is odd: H.264 has a colour
        for each two by two.

    Raises:
        UserError: something lies there that is not our own, or PyAV was built without H.264.
    """
    import av

    own_files.check_free(path, own_files.is_own_video)
    with atomic_file(path) as file:
        with av.open(file, "w", format="mp4") as container:
            try:
                stream = container.add_stream(CODEC, rate=USUAL_RATE, options=H264)
            except ValueError:
                raise UserError(f"this PyAV does not write {CODEC}: pip install av") from None
            stream.pix_fmt, stream.time_base = "yuv420p", CLOCK
            stream.codec_context.time_base = CLOCK
            stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
            stream.codec_context.color_trc = BT709
            stream.codec_context.thread_count = 1  # the processors are the detector's
            last = -1

            def write(picture: np.ndarray, seconds: float) -> None:
                nonlocal last
                height, width = picture.shape[:2]
                if last < 0:
                    stream.width, stream.height = width + width % 2, height + height % 2
                even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
                frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
                    stream.width, stream.height, "yuv420p", dst_colorspace="ITU709"
                )
                last = max(last + 1, round(seconds / CLOCK))
                frame.pts, frame.time_base = last, CLOCK
                container.mux(stream.encode(frame))

            yield write
            container.mux(stream.encode())
        file.seek(0, os.SEEK_END)
        file.write(own_files.VIDEO_NOTE)
