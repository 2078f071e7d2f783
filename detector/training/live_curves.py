"""The curves of a run that grow in a notebook while it trains; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from detector.training.curves import draw_curves
from detector.training.run_folder import RunFolder

SECONDS = 5.0  # between two pictures
MOST = 0.02  # of the time of the training, for drawing


class LiveCurves:
    """Draws ``curves.png`` again, and shows it in place of the last one, when it is called and due.

    Args:
        figures: see ``draw_curves``.
    """

    def __init__(self, run: RunFolder, figures: Mapping[str, str]):
        self.run, self.figures = run, figures
        self.due = time.monotonic() + SECONDS
        self.handle = None  # IPython's, of the picture that is shown

    def __call__(self) -> None:
        begun = time.monotonic()
        if begun < self.due or not in_kernel():
            return
        draw_curves(self.run.metrics, self.run.curves, self.figures)
        self.show()
        now = time.monotonic()
        self.due = now + max(SECONDS, (now - begun) / MOST)

    def show(self) -> None:
        """Show the curves as they are drawn."""
        if not in_kernel() or not self.run.curves.exists():
            return
        from IPython.display import Image, display

        image = Image(data=self.run.curves.read_bytes(), format="png")
        if self.handle is None:
            self.handle = display(image, display_id=True)
        else:
            self.handle.update(image)


def in_kernel() -> bool:
    """Whether a notebook's kernel runs this, which then has imported IPython long ago."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
