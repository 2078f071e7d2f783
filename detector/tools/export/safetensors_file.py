"""``lighthead export --to safetensors``: the weights alone, by name, with what they mean.

Any program that knows the format reads them (a checkpoint of ours has the optimizer's state and a
name of its own besides). The metadata has ``detector``, ``config``, ``classes``, ``category_ids``
and ``score``, as JSON.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.detectors import DETECTORS
from detector.detectors.compiled import CompiledDetector
from detector.own_files import WEIGHTS, check_results_file, is_own_weights
from detector.tools.export.comparison import Comparison, compare
from detector.training.loading import LoadedDetector
from nn.weights import safetensors


def export(
    detector: LoadedDetector, path: Path, pictures: Sequence[tuple[str, np.ndarray]]
) -> Comparison:
    """Write the weights to ``path``, and read them again to see that they find the same.

    Raises:
        UserError: something else lies there, or they do not.
    """
    check_results_file(path, "--out", is_own_weights)
    model = detector.model
    about = {
        "detector": model.settings.detector,
        "config": model.config(),
        "classes": detector.classes,
        "category_ids": detector.category_ids,
        "score": detector.score,
    }
    metadata = {"format": WEIGHTS, **{name: json.dumps(value) for name, value in about.items()}}
    state = model.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder, "weights")
        safetensors.write(trial, state, metadata)
        again = CompiledDetector(read(trial))
    result = compare(CompiledDetector(model), lambda image: again.predict([image])[0], pictures)
    safetensors.write(path, state, metadata)
    return result


def read(path: Path):
    """The detector that was written."""
    state, metadata = safetensors.read(path)
    about = {name: json.loads(text) for name, text in metadata.items() if name != "format"}
    model = DETECTORS[about["detector"]](**about["config"])
    model.load_state_dict(state)
    return model.eval()
