"""How the chapters' figures look: lines and boxes that stay apart when printed in grey."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from support.seeing import describe

# From dark to light: their lightness (CIE L*) is 12, 35, 50, 63 and 77.
GREYS = ("#101f3c", "#8f2d56", "#2a7fa5", "#d98324", "#a9c97f")
LINES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))


def use_style() -> None:
    """Set matplotlib's defaults: call it once, at the top of a chapter.

    A figure that a notebook shows says in words what it shows, in its form as text.
    """
    Figure._repr_pretty_ = lambda figure, printer, cycle: printer.text(describe(figure))
    plt.rcParams.update(
        {
            "figure.figsize": (7.5, 3.2),
            "figure.dpi": 120,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.prop_cycle": cycler(color=GREYS) + cycler(linestyle=LINES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.cmap": "gray",
            "legend.frameon": False,
        }
    )


def show_boxes(
    axis: Axes,
    image: np.ndarray,
    boxes: np.ndarray,
    texts: Sequence[str] = (),
    color: str = "white",
    linestyle: str | tuple = "-",
) -> None:
    """Show a picture with boxes over it, each with its text where there is one.

    Args:
        axis: of matplotlib, loses its ticks.
        image: (H, W, 3) uint8 RGB or (H, W), the upper left corner of pixel (0, 0) at (0, 0), as
            everywhere in ``detector``.
        boxes: (R, 4) ``(x1, y1, x2, y2)`` in pixels.
        texts: R of them, or none.
        color, linestyle: of the boxes, whose black seam shows on any ground.

    Raises:
        ValueError: the boxes are not (R, 4), or there are texts but not R.
    """
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(texts) not in (0, len(boxes)):
        raise ValueError(f"boxes {boxes.shape} must be (R, 4), with R texts or none: {len(texts)}")
    height, width = image.shape[:2]
    axis.imshow(image, extent=(0, width, height, 0))
    axis.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    axis.spines[:].set_visible(False)
    seam = [patheffects.Stroke(linewidth=3, foreground="black"), patheffects.Normal()]
    for x1, y1, x2, y2 in boxes:
        box = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, linewidth=1.5)
        box.set(edgecolor=color, linestyle=linestyle, path_effects=seam)
        axis.add_patch(box)
    ground = {"facecolor": "black", "edgecolor": "none", "alpha": 0.7, "pad": 1.5}
    for (x1, y1, _, _), text in zip(boxes, texts, strict=False):
        axis.text(
            max(x1, 0) + 2, max(y1, 0) + 2, text, color="white", size=7, bbox=ground, va="top"
        )
