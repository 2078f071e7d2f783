"""What is measured: each case names its work, makes its arrays from a seed and counts its cost.

A case says what is done, not how; the files in ``peers`` do it. ``arrays()`` and ``multiply_adds``
need ``nn`` and ``detector`` and are used by the coordinator only: the peers get the arrays, so that
PyTorch's process holds PyTorch alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.agreement import largest_difference, missing_detections

Arrays = dict[str, np.ndarray | dict]

WIDTHS = {0.5: "x0_5", 1.0: "x1_0", 1.5: "x1_5", 2.0: "x2_0"}
ROIS = 1000  # regions a photograph: the detector's limit after suppression
CLASSES = 80


class Case:
    """Base class.

    Attributes:
        name: a line of a table.
        multiply_adds: of one call.
        calls: how often the work is done before its outputs are compared; after the second step
            of training an error in the first step's update shows.
        tolerance: for ``difference``.
        times: how often the network that it comes from does it.
    """

    name: str
    multiply_adds: int
    calls = 1
    tolerance = 1e-4
    times = 1

    def arrays(self) -> Arrays:
        """Inputs, weights and, under "config", the plain numbers that a twin is built from."""
        raise NotImplementedError

    def difference(self, ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
        """How far two peers' outputs are apart."""
        return largest_difference(ours, theirs)


@dataclass(frozen=True)
class MatrixProduct(Case):
    """float32, square. The fastest peer's speed counts as the machine's peak."""

    size: int = 1024

    @property
    def name(self) -> str:
        return f"matrix product, {self.size}^3"

    @property
    def multiply_adds(self) -> int:
        return self.size**3

    def arrays(self) -> Arrays:
        rng = np.random.default_rng(0)
        return {name: normal(rng, self.size, self.size) for name in "ab"}


@dataclass(frozen=True)
class MultiplyAdds(Case):
    """Multiply-adds of what is in registers: what no product can be faster than.

    Each of ``threads`` threads does as many. Only we do this; the others have no such operation.
    """

    threads: int
    turns: int = 1 << 17

    @property
    def name(self) -> str:
        return f"multiply-adds in registers, threads: {self.threads}"

    @property
    def multiply_adds(self) -> int:
        from nn.kernels.machine.simd import LANES
        from nn.kernels.multiply_adds import SUMS

        return self.threads * self.turns * SUMS * LANES

    def arrays(self) -> Arrays:
        return {}


@dataclass(frozen=True)
class Convolution(Case):
    """One convolution by itself: forward, or the gradients of input and weight."""

    batch: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: int
    groups: int
    size: tuple[int, int]
    bias: bool
    backward: bool = False
    times: int = 1

    @property
    def padding(self) -> tuple[int, int]:
        return self.kernel[0] // 2, self.kernel[1] // 2

    @property
    def out_size(self) -> tuple[int, int]:
        return tuple(-(-edge // self.stride) for edge in self.size)

    @property
    def name(self) -> str:
        kind = "depthwise " if self.groups > 1 else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        channels = f"{self.in_channels} -> {self.out_channels}"
        return (
            f"{kind}{self.kernel[0]}x{self.kernel[1]}{stride} {channels}, "
            f"{self.batch} x {self.size[0]}x{self.size[1]}{', backward' * self.backward}"
        )

    @property
    def multiply_adds(self) -> int:
        height, width = self.out_size
        taps = self.in_channels // self.groups * self.kernel[0] * self.kernel[1]
        return self.batch * self.out_channels * height * width * taps * (1 + self.backward)

    def arrays(self) -> Arrays:
        rng = np.random.default_rng(0)
        fan_in = self.in_channels // self.groups * self.kernel[0] * self.kernel[1]
        weight = normal(rng, self.out_channels, self.in_channels // self.groups, *self.kernel)
        arrays = {
            "input": normal(rng, self.batch, self.in_channels, *self.size),
            "weight": weight / np.float32(fan_in**0.5),
        }
        if self.bias:
            arrays["bias"] = normal(rng, self.out_channels)
        if self.backward:
            arrays["grad_output"] = normal(rng, self.batch, self.out_channels, *self.out_size)
        return arrays


@dataclass(frozen=True)
class Classifier(Case):
    """ShuffleNet v2, normalised images in, scores out."""

    width: float
    size: tuple[int, int]
    batch: int = 1

    @property
    def name(self) -> str:
        return f"ShuffleNet v2 {self.width:g}x, {picture(self.size)}, batch {self.batch}"

    @property
    def multiply_adds(self) -> int:
        return self.batch * count(self.model(), self.size)

    def model(self):
        import nn

        nn.manual_seed(0)
        return with_statistics(nn.models.shufflenet_v2(self.width))

    def arrays(self) -> Arrays:
        images = normal(np.random.default_rng(1), self.batch, 3, *self.size)
        model = self.model()
        return {"images": images, "config": {"channels": model.stage_channels}, **weights(model)}


@dataclass(frozen=True)
class AnyNetwork(Case):
    """A row of ``nn.models.NETWORKS`` at the size that it is for: a picture in, scores out.

    It is handed over as an ONNX graph; only we build it ourselves.
    """

    network: str

    @property
    def name(self) -> str:
        return f"{self.network}, batch 1"

    @property
    def multiply_adds(self) -> int:
        import nn

        with nn.init.skipped():
            model = nn.models.NETWORKS[self.network]()
        return count(model, (model.side, model.side))

    def model(self):
        import nn

        nn.manual_seed(0)
        return with_statistics(nn.models.NETWORKS[self.network]()).eval()

    def arrays(self) -> Arrays:
        from nn.onnx.network import network_model

        model = self.model()
        images = normal(np.random.default_rng(1), 1, 3, model.side, model.side)
        graph = network_model(model, [images.shape] * 2).SerializeToString()
        return {"images": images, "graph": np.frombuffer(graph, np.uint8)}


@dataclass(frozen=True)
class AnyDetector(Case):
    """A row of ``detector.detectors.DETECTORS`` for 20 classes, as its paper has it but for the
    backbone: a picture in, what its heads say of all boxes and the maps for its regions out.

    It is handed over as an ONNX graph; only we build it ourselves.
    """

    detector: str
    backbone: str
    size: tuple[int, int]

    @property
    def name(self) -> str:
        return f"{self.detector} on {self.backbone}, {picture(self.size)}, batch 1"

    @property
    def multiply_adds(self) -> int:
        return count(self.model(), self.size)

    def model(self):
        import nn
        from detector.detectors import DETECTORS

        class Maps(nn.Module):
            """The detector's tensors, without its anchors."""

            def __init__(self, detector):
                super().__init__()
                self.detector = detector

            def forward(self, images):
                return tuple(tensors(self.detector(images)))

        def tensors(answers):
            if isinstance(answers, nn.Tensor):
                yield answers
            elif isinstance(answers, tuple):
                for part in answers:
                    yield from tensors(part)

        nn.manual_seed(0)
        return with_statistics(Maps(DETECTORS[self.detector](20, backbone=self.backbone))).eval()

    def arrays(self) -> Arrays:
        import nn
        from nn.onnx.graph import Graph
        from nn.onnx.network import add_module

        model, images = self.model(), normal(np.random.default_rng(1), 1, 3, *self.size)
        graph = Graph({id(array): name for name, array in model.state_dict().items()})
        outputs = add_module(
            graph, model, graph.input("images", np.float32, images.shape), [images.shape] * 2
        )
        with nn.no_grad():
            shapes = [tensor.shape for tensor in model(nn.Tensor(images))]
        for i, (output, shape) in enumerate(zip(outputs, shapes, strict=True)):
            graph.output(f"maps {i}", output, np.float32, shape)
        written = graph.model("detector").SerializeToString()
        return {"images": images, "graph": np.frombuffer(written, np.uint8)}


@dataclass(frozen=True)
class ClassifierTraining(Classifier):
    """Forward, cross-entropy, backward, momentum; the loss out."""

    calls = 2
    tolerance = 1e-3

    @property
    def name(self) -> str:
        return f"training step, {super().name}"

    @property
    def multiply_adds(self) -> int:
        # Forward, the gradient of the input and the gradient of the weights cost the same.
        return 3 * self.batch * count(self.model(), self.size)

    def arrays(self) -> Arrays:
        labels = np.random.default_rng(2).integers(0, 1000, self.batch)
        return {"labels": labels, **super().arrays()}


@dataclass(frozen=True)
class Network(Case):
    """The S detector without its boxes: backbone, RPN, thin map; and the head on given regions."""

    width: float
    size: tuple[int, int]
    batch: int = 1

    @property
    def part(self) -> str:
        return "S detector, network part"

    @property
    def name(self) -> str:
        return f"{self.part}, {self.width:g}x, {picture(self.size)}, batch {self.batch}"

    @property
    def padded(self) -> tuple[int, int]:
        return tuple(-(-edge // 32) * 32 for edge in self.size)

    def model(self):
        import nn
        from detector import LightHeadRCNN

        nn.manual_seed(0)
        model = LightHeadRCNN(
            CLASSES, f"shufflenet_v2_{WIDTHS[self.width]}", "S",
            image={"short_side": min(self.size), "max_side": max(self.size)},
            rpn={"init": "he"}, thin_map={"init": "he"}, head={"init": "he"},
        )  # fmt: skip
        return with_statistics(model)

    @property
    def head_multiply_adds(self) -> int:
        """For one region."""
        return sum(layer.weight.numel() for layer in self.model().head.children())

    @property
    def multiply_adds(self) -> int:
        maps = count(self.model(), self.padded)
        return self.batch * (maps + ROIS * self.head_multiply_adds)

    def model_arrays(self) -> Arrays:
        model = self.model()
        config = {**model.config(), "channels": model.backbone.stage_channels}
        return {"config": config, **weights(model)}

    def arrays(self) -> Arrays:
        rng = np.random.default_rng(1)
        return {
            "images": normal(rng, self.batch, 3, *self.padded),
            "pooled": normal(rng, self.batch * ROIS, 490),
            **self.model_arrays(),
        }


@dataclass(frozen=True)
class Detection(Network):
    """The whole S detector, photographs in, boxes out, one after the other."""

    tolerance = 0.05

    @property
    def part(self) -> str:
        return "S detector, boxes out"

    def arrays(self) -> Arrays:
        rng = np.random.default_rng(1)
        return {"photographs": photographs(rng, self.batch, self.size), **self.model_arrays()}

    def difference(self, ours, theirs) -> float:
        """The part of the detections that the other does not have: close scores may swap."""
        return missing_detections(ours, theirs)


@dataclass(frozen=True)
class DetectorTraining(Network):
    """Forward, targets, proposals, mining, losses, backward, clipping, momentum; the losses out."""

    calls = 2
    tolerance = 5e-3

    @property
    def part(self) -> str:
        return "training step, S detector"

    @property
    def multiply_adds(self) -> int:
        config = self.model().config()
        maps = 3 * count(self.model(), self.padded)
        regions = config["rpn"]["train_selector"]["post_nms"] + 3 * config["head"]["hard_examples"]
        return self.batch * (maps + regions * self.head_multiply_adds)

    def arrays(self) -> Arrays:
        rng = np.random.default_rng(1)
        height, width = self.size
        corner = rng.uniform(0, 0.5, (self.batch, 4, 2)) * (width, height)
        sides = rng.uniform(0.15, 0.5, (self.batch, 4, 2)) * (width, height)
        return {
            "photographs": photographs(rng, self.batch, self.size),
            "boxes": np.concatenate([corner, corner + sides], 2).astype(np.float32),
            "labels": rng.integers(1, CLASSES + 1, (self.batch, 4)),
            **self.model_arrays(),
        }


def picture(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def normal(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def photographs(rng, batch: int, size: tuple[int, int]) -> np.ndarray:
    return rng.integers(0, 256, (batch, *size, 3), dtype=np.uint8)


def weights(model) -> Arrays:
    """The state_dict, its names after "weights."."""
    return {f"weights.{name}": array for name, array in model.state_dict().items()}


def state_dict(arrays: Arrays) -> Arrays:
    """The inverse of ``weights``: the arrays of the model alone."""
    mark = "weights."
    return {name[len(mark) :]: a for name, a in arrays.items() if name.startswith(mark)}


def with_statistics(model):
    """Batch norms that do something: with mean 0 and variance 1 a wrong one would not show."""
    rng = np.random.default_rng(3)
    for name, array in model.state_dict().items():
        if name.endswith("running_mean"):
            array[...] = rng.uniform(-0.2, 0.2, array.shape)
        elif name.endswith("running_var"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    return model


def count(model, size: tuple[int, int]) -> int:
    """Multiply-adds of one image."""
    import nn

    return nn.summary(model, (1, 3, *size)).multiply_adds
