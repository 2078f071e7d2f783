"""A trained detector as a file for other programs.

``EXPORTS`` lists the kinds. A row is a function (detector, path, pictures) that writes the file,
once what comes out of it was compared with our own detections in the pictures. ``GRAPHS`` says how
a detector becomes an ONNX graph, ``TORCH`` how it becomes a PyTorch module.
"""

from nn.table import Table

EXPORTS = Table(
    "kind of file",
    {
        "onnx": (
            "detector.tools.export.onnx_file:export",
            "one file, picture in, boxes out, for ONNX Runtime, OpenVINO and others",
        ),
        "safetensors": (
            "detector.tools.export.safetensors_file:export",
            "the weights alone, by name, and what they mean",
        ),
        "torch": (
            "detector.tools.export.torch_file:export",
            "a state dict, and the Python file that loads it and detects",
        ),
    },
)

GRAPHS = Table(
    "detector as a graph",
    {
        "light-head-rcnn": "detector.tools.export.two_stage:add_detector",
        "faster-rcnn": "detector.tools.export.two_stage:add_detector",
        "faster-rcnn-c4": "detector.tools.export.two_stage:add_detector",
        "cascade-rcnn": "detector.tools.export.two_stage:add_detector",
        "mask-rcnn": "detector.tools.export.two_stage:add_detector",
        "r-fcn": "detector.tools.export.two_stage:add_detector",
        "dssd": "detector.tools.export.dssd:add_detector",
        "retinanet": "detector.tools.export.one_stage:add_dense",
        "ssd": "detector.tools.export.one_stage:add_dense",
        "ssdlite": "detector.tools.export.one_stage:add_dense",
        "yolo-v1": "detector.tools.export.yolo_v1:add_detector",
        "yolo-v2": "detector.tools.export.one_stage:add_yolo_v2",
    },
)

TORCH = Table(
    "detector in PyTorch",
    {"light-head-rcnn": "detector.tools.export.torch_settings:two_stage"},
)

# Of two batches for traces: no map of the one is as high or as wide as one of the other.
SIZES = (1, 3, 160, 224), (1, 3, 256, 352)
