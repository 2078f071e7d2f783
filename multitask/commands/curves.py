"""The course of a training as a picture: loss, learning rate and waiting of each task."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence

from detector.training.curves import smoothed
from nn.files import atomic_file


def draw_history(history: Mapping[str, Sequence[dict]], picture: str | os.PathLike) -> None:
    """Draw what the tasks reported (``events.history``) into a PNG; nothing if that is nothing."""
    # A figure without pyplot: no window system is asked for, and importing costs only when used.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not any(history.values()):
        return
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    panels = dict(zip(("loss", "lr", "waited"), figure.subplots(1, 3), strict=True))
    titles = {
        "loss": "loss (running mean)",
        "lr": "learning rate",
        "waited": "waiting for the server, s (running mean)",
    }
    for name, panel in panels.items():
        for task, entries in history.items():
            known = [entry for entry in entries if name in entry]
            if known:
                values = [entry[name] for entry in known]
                values = values if name == "lr" else smoothed(values)
                panel.plot([entry["iteration"] + 1 for entry in known], values, label=task)
        panel.set(title=titles[name], xlabel="iteration", ylim=(0, None))
    panels["loss"].legend(fontsize="small")
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    with atomic_file(picture) as file:
        file.write(content.getvalue())
