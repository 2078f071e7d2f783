"""``lighthead export --to onnx``: one file, a photograph in, boxes out.

Inputs and outputs::

    image   (height, width, 3) uint8, RGB, of any size
    boxes   (n, 4) float32, corners x1, y1, x2, y2 in pixels of the image, the surest first
    scores  (n,) float32, 0..1
    labels  (n,) int64, from 1: label k is the k-th name in the file's metadata, "classes"
    masks   (n, m, m) float32, 0..1, of Mask R-CNN: how sure each cell of a box is the object's

It resizes and normalises the photograph, and suppresses doubles itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.own_files import check_results_file, is_own_graph
from detector.tools.export import GRAPHS
from detector.tools.export.comparison import Comparison, Found, compare
from detector.training.loading import LoadedDetector
from nn.files import atomic_file
from nn.inference.any_size import NoEquivalentError
from nn.kernels import get_num_threads

EXTRA = 'pip install "lighthead[export]"'


def export(
    detector: LoadedDetector, path: Path, pictures: Sequence[tuple[str, np.ndarray]]
) -> Comparison:
    """Write the detector to ``path``, if ONNX Runtime finds in ``pictures`` what we find.

    Raises:
        UserError: it does not, the packages are missing, something else lies there, or the detector
            does what ONNX has no word for.
    """
    check_results_file(path, "--out", is_own_graph)
    content = detector_graph(detector).SerializeToString()
    result = compare(CompiledDetector(detector.model), runtime(content), pictures)
    with atomic_file(path) as file:
        file.write(content)
    return result


def detector_graph(detector: LoadedDetector):
    """The detector as an ``onnx.ModelProto``.

    Raises:
        UserError: see ``export``.
    """
    try:
        from nn.onnx.graph import Graph
    except ModuleNotFoundError as error:
        raise UserError(f"the package {error.name} is missing: {EXTRA}") from None
    model = detector.model
    graph = Graph({id(array): name for name, array in model.state_dict().items()})
    image = graph.input("image", np.uint8, ["height", "width", 3])
    try:
        boxes, scores, labels, *masks = GRAPHS[model.settings.detector](graph, image, model)
    except (LookupError, NoEquivalentError) as error:
        raise UserError(f"this detector cannot become an ONNX file: {error}") from error
    graph.output("boxes", boxes, np.float32, ["n", 4])
    graph.output("scores", scores, np.float32, ["n"])
    graph.output("labels", labels, np.int64, ["n"])
    for name in masks:
        graph.output("masks", name, np.float32, ["n", model.mask_head.size, model.mask_head.size])
    about = {"classes": detector.classes, "category_ids": detector.category_ids}
    about["score"] = detector.score
    return graph.model("detector", {name: json.dumps(value) for name, value in about.items()})


def runtime(content: bytes) -> Callable[[np.ndarray], Found]:
    """ONNX Runtime with a graph: from an image to what is found.

    Raises:
        UserError: it is not installed, or does not take the graph.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise UserError(f"the package onnxruntime is missing: {EXTRA}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def detect(image: np.ndarray) -> Found:
        return dict(zip(names, session.run(names, {"image": image}), strict=True))

    return detect
