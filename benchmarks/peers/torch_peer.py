"""PyTorch, as a contestant: eager in both memory layouts, and with batch norms folded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks import cases
from benchmarks.peers import torch_training
from benchmarks.peers.torch_detector import LightHeadRCNN
from benchmarks.peers.torch_shufflenet import ShuffleNetV2
from benchmarks.settings import CLIP_NORM, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def describe() -> str:
    return f"PyTorch {torch.__version__}"


def use_threads(count: int) -> None:
    torch.set_num_threads(count)


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``; "folded" is channels-last with all batch norms folded."""
    is_folded = variant == "folded"
    if type(case) not in (NETWORKS if is_folded else NETWORKS | BUILDERS):
        return None
    layout = torch.channels_last if is_folded else LAYOUTS[variant]
    if type(case) in NETWORKS:
        model, inputs = NETWORKS[type(case)](arrays, layout)
        if is_folded:
            fold_batch_norms(model)
        return inference(model, inputs)
    return BUILDERS[type(case)](case, arrays, layout)


def classifier(arrays, layout):
    model = load(ShuffleNetV2(arrays["config"]["channels"], 1000), arrays)
    return model.eval().to(memory_format=layout), [images_of(arrays, layout)]


def network(arrays, layout):
    model = load(LightHeadRCNN(arrays["config"]["channels"], arrays["config"]), arrays)
    inputs = [images_of(arrays, layout), torch.from_numpy(arrays["pooled"])]
    return model.eval().to(memory_format=layout), inputs


def images_of(arrays, layout):
    return torch.from_numpy(arrays["images"]).contiguous(memory_format=layout)


def inference(model, inputs):
    """A function that runs the model on these inputs."""

    @torch.inference_mode()
    def run():
        outputs = model(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else [outputs]
        return [output.numpy() for output in outputs]

    return run


def matrix_product(case, arrays, layout):
    if layout is torch.channels_last:
        return None
    a, b = torch.from_numpy(arrays["a"]), torch.from_numpy(arrays["b"])
    return lambda: [(a @ b).numpy()]


def convolution(case, arrays, layout):
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name, tensor in tensors.items():
        if tensor.ndim == 4:
            tensors[name] = tensor.contiguous(memory_format=layout)
    x, w, b = tensors["input"], tensors["weight"], tensors.get("bias")
    if not case.backward:

        @torch.inference_mode()
        def forward():
            return [F.conv2d(x, w, b, case.stride, case.padding, 1, case.groups).numpy()]

        return forward

    def backward():
        grads = torch.ops.aten.convolution_backward(
            tensors["grad_output"], x, w, [len(w)], [case.stride] * 2, case.padding, [1, 1],
            False, [0, 0], case.groups, [True, True, False],
        )  # fmt: skip
        return [grad.numpy() for grad in grads[:2]]

    return backward


def fold_batch_norms(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Sequential):
            for i in range(len(module) - 1):
                conv, norm = module[i], module[i + 1]
                if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(conv, norm), torch.nn.Identity()


def detection(case, arrays, layout):
    model = load(LightHeadRCNN(arrays["config"]["channels"], arrays["config"]), arrays)
    model = model.eval().to(memory_format=layout)
    photographs = list(arrays["photographs"])

    def detect():
        found = model.predict(photographs, layout)
        return [part.numpy() for image in found for part in image]

    return detect


def classifier_training(case, arrays, layout):
    model = load(ShuffleNetV2(arrays["config"]["channels"], 1000), arrays)
    images = images_of(arrays, layout)
    labels = torch.from_numpy(arrays["labels"])
    return training(model, layout, lambda: [F.cross_entropy(model(images), labels)])


def detector_training(case, arrays, layout):
    model = load(LightHeadRCNN(arrays["config"]["channels"], arrays["config"]), arrays)
    photographs = list(arrays["photographs"])
    targets = [
        (torch.from_numpy(boxes), torch.from_numpy(labels))
        for boxes, labels in zip(arrays["boxes"], arrays["labels"], strict=True)
    ]
    return training(
        model, layout, lambda: torch_training.losses(model, photographs, targets, layout), CLIP_NORM
    )


def training(model, layout, losses, clip_norm: float | None = None):
    """A function that makes one step and returns the losses before it."""
    model.train().to(memory_format=layout)
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
    )

    def step():
        values = losses()
        optimizer.zero_grad()
        sum(values).backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        return [value.detach().numpy() for value in values]

    return step


def load(model, arrays):
    state = cases.state_dict(arrays)
    model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()})
    return model


# Models that only run forward, and can be folded and compiled.
NETWORKS = {cases.Classifier: classifier, cases.Network: network}
BUILDERS = {
    cases.MatrixProduct: matrix_product,
    cases.Convolution: convolution,
    cases.Detection: detection,
    cases.ClassifierTraining: classifier_training,
    cases.DetectorTraining: detector_training,
}
