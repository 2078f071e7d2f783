"""``lighthead export --to torch``: a state dict, and one Python file that loads it and detects.

The Python file needs PyTorch, NumPy and Pillow, nothing of ours, and is meant to be read and
trained further. It has three parts: what is done with boxes (``torch_two_stage``, word for word),
the network (``torch_network``, from its layers and its trace), and the numbers of this detector.
Every weight has the name that it has here.
"""

from __future__ import annotations

import hashlib
import io
import re
import runpy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from pprint import pformat

import numpy as np

from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.own_files import CODE, check_free, check_results_file, is_own_code
from detector.tools.export import SIZES, TORCH
from detector.tools.export.comparison import Comparison, compare
from detector.tools.export.torch_network import network_code
from detector.training.loading import LoadedDetector
from nn.files import atomic_file
from nn.inference.any_size import NoEquivalentError

START = f'''"""{CODE}. A detector in PyTorch: its weights are in the file beside this one.

    python THIS_FILE.py photo.jpg

    detector = load()                        # or load("elsewhere/weights.pth")
    found = detector.predict(image)          # (H, W, 3) uint8 RGB, any size
    found["boxes"], found["scores"], found["labels"]

Needs PyTorch, NumPy and Pillow. Label k is CLASSES[k - 1].
"""

import sys
from pathlib import Path
'''

END = '''

@NETWORK@


CLASSES = @CLASSES@
SCORE = @SCORE@  # from which on a detection is shown
WEIGHTS = @WEIGHTS@  # SHA-256 @SHA256@
SETTINGS = @SETTINGS@


def load(path=None):
    """The detector with its weights, in evaluation mode."""
    path = Path(__file__).with_name(WEIGHTS) if path is None else path
    network = Network()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return Detector(network, SETTINGS).eval()


if __name__ == "__main__":
    from PIL import ImageOps

    detector = load()
    for name in sys.argv[1:]:
        photograph = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
        found = detector.predict(np.asarray(photograph))
        for box, score, label in zip(*found.values(), strict=True):
            if score >= SCORE:
                print(name, CLASSES[label - 1], f"{score:.3f}", *(f"{side:.1f}" for side in box))
'''


def export(
    detector: LoadedDetector, path: Path, pictures: Sequence[tuple[str, np.ndarray]]
) -> Comparison:
    """Write the state dict to ``path`` and the Python file beside it, if they find what we find.

    Raises:
        UserError: they do not, PyTorch is missing, something else lies there, or the detector does
            what has no form in PyTorch here.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError("PyTorch is missing: pip install torch") from None
    code_path = path.with_suffix(".py")
    if path == code_path:
        raise UserError(f"--out {path} is for the weights: end it in .pth, the code gets .py")
    check_results_file(path, "--out", lambda path: is_named_by(code_path, path))
    check_free(code_path, is_own_code)

    state = detector.model.state_dict()
    file = io.BytesIO()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, file)
    weights = file.getvalue()
    code = code_of(detector, path.name, weights).encode()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, path.name).write_bytes(weights)
        Path(folder, code_path.name).write_bytes(code)
        theirs = runpy.run_path(str(Path(folder, code_path.name)))["load"]()
        result = compare(CompiledDetector(detector.model), theirs.predict, pictures)
    for place, content in ((path, weights), (code_path, code)):
        with atomic_file(place) as out:
            out.write(content)
    return result


def code_of(detector: LoadedDetector, weights_name: str, weights: bytes) -> str:
    """The Python file.

    Raises:
        UserError: there is no form of the detector in PyTorch.
    """
    model = detector.model
    try:
        boxes, settings = TORCH[model.settings.detector](model)
        network = network_code(model, SIZES)
    except (LookupError, NoEquivalentError) as error:
        raise UserError(f"this detector cannot become a PyTorch file: {error}") from error
    values = {
        "NETWORK": network,
        "CLASSES": pformat(detector.classes, width=100),
        "SCORE": repr(0.5 if detector.score is None else detector.score),
        "WEIGHTS": repr(weights_name),
        "SHA256": hashlib.sha256(weights).hexdigest(),
        "SETTINGS": pformat(settings, width=100, sort_dicts=False),
    }
    return START + boxes + re.sub("@([A-Z0-9]+)@", lambda word: values[word[1]], END)


def is_named_by(code: Path, weights: Path) -> bool:
    """Whether a Python file of ours says that it goes with these weights."""
    if not (is_own_code(code) and weights.is_file()):
        return False
    return hashlib.sha256(weights.read_bytes()).hexdigest() in code.read_text(encoding="utf-8")
