"""This project, as a contestant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import nn
from benchmarks import cases
from benchmarks.settings import CLIP_NORM, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from nn import functional as F
from nn.memory import keep_freed_memory


def describe() -> str:
    import numba

    return f"lighthead, NumPy {np.__version__}, Numba {numba.__version__}"


def use_threads(count: int) -> None:
    nn.set_num_threads(count)


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]]:
    """See ``benchmarks.peers``."""
    return BUILDERS[type(case)](case, arrays)


def fast(module: nn.Module, input_shape: tuple[int, ...]) -> Callable:
    """The module made ready for use: an array in, arrays out."""
    compiled = nn.inference.compile(module.eval(), input_shape)
    return lambda array: as_list(compiled(array))


def as_list(output) -> list:
    return list(output) if isinstance(output, tuple) else [output]


def matrix_product(case, arrays):
    from nn.kernels.matmul import matmul

    a, b = arrays["a"][None], arrays["b"][None]
    zeros, out = np.zeros(case.size, np.float32), np.empty_like(a)

    def run():
        matmul(a, b, zeros, out, False, False)
        return [out[0]]

    return run


def convolution(case, arrays):
    layer = nn.Conv2d(
        case.in_channels, case.out_channels, case.kernel, case.stride, case.padding,
        groups=case.groups, bias=case.bias,
    )  # fmt: skip
    state = {name: arrays[name] for name in ("weight", "bias") if name in arrays}
    layer.load_state_dict(state)
    if case.bias:
        layer.bias.requires_grad = False
    image = nn.Tensor(arrays["input"], requires_grad=case.backward)
    if case.backward:
        operation = layer(image).node.operation
        return lambda: list(operation.backward(arrays["grad_output"])[:2])

    def forward():
        with nn.no_grad():
            return [layer(image).data]

    return forward


def load_classifier(case, arrays):
    model = nn.models.shufflenet_v2(case.width)
    model.load_state_dict(cases.state_dict(arrays))
    return model


def any_network(case, arrays):
    network, images = fast(case.model(), arrays["images"].shape), arrays["images"]
    return lambda: network(images)


def classifier(case, arrays):
    run = fast(load_classifier(case, arrays), arrays["images"].shape)
    return lambda: run(arrays["images"])


def network(case, arrays):
    from detector.heads.connected_head import CompiledHead

    model = load_detector(arrays)
    maps = fast(model, arrays["images"].shape)
    head = CompiledHead(model.head, len(arrays["pooled"]))

    def run():
        objectness, deltas, thin, *_ = maps(arrays["images"])
        return [objectness, deltas, thin, *head.connected(arrays["pooled"])]

    return run


def detection(case, arrays):
    from detector import CompiledDetector

    model = CompiledDetector(load_detector(arrays))
    photographs = list(arrays["photographs"])

    def detect():
        found = model.predict(photographs)
        return [image[part] for image in found for part in ("boxes", "scores", "labels")]

    return detect


def load_detector(arrays):
    from detector import LightHeadRCNN

    config = {name: value for name, value in arrays["config"].items() if name != "channels"}
    model = LightHeadRCNN(**config)
    model.load_state_dict(cases.state_dict(arrays))
    return model


def classifier_training(case, arrays):
    model = load_classifier(case, arrays)
    images, labels = nn.Tensor(arrays["images"]), arrays["labels"]
    return training(model, lambda: [F.cross_entropy(model(images), labels)])


def detector_training(case, arrays):
    model = load_detector(arrays)
    photographs = list(arrays["photographs"])
    targets = [
        {"boxes": boxes, "labels": labels}
        for boxes, labels in zip(arrays["boxes"], arrays["labels"], strict=True)
    ]
    return training(model, lambda: list(model.loss(photographs, targets).values()), CLIP_NORM)


def training(model, losses, clip_norm: float | None = None):
    """A function that makes one step and returns the losses before it."""
    keep_freed_memory()  # as every training of ours does where its loop begins
    model.train()
    optimizer = nn.optim.MomentumSGD(model.parameters(), LEARNING_RATE, MOMENTUM, WEIGHT_DECAY)

    def step():
        values = losses()
        optimizer.zero_grad()
        sum(values).backward()
        if clip_norm:
            nn.optim.clip_grad_norm(model.parameters(), clip_norm)
        optimizer.step()
        return [value.data for value in values]

    return step


def registers(case, arrays):
    from nn.kernels.machine.simd import LANES
    from nn.kernels.multiply_adds import SUMS, multiply_adds

    sums, a = np.zeros((case.threads, SUMS, LANES), np.float32), np.zeros(LANES, np.float32)

    def run():
        multiply_adds(a, a, case.turns, sums)
        return [sums]

    return run


BUILDERS = {
    cases.MultiplyAdds: registers,
    cases.MatrixProduct: matrix_product,
    cases.Convolution: convolution,
    cases.AnyNetwork: any_network,
    cases.AnyDetector: any_network,
    cases.Classifier: classifier,
    cases.Network: network,
    cases.Detection: detection,
    cases.ClassifierTraining: classifier_training,
    cases.DetectorTraining: detector_training,
}
