"""A minimal deep-learning library in NumPy and Numba: tensors, autograd, layers, optimisers.

Knows boxes and regions of images, as torchvision.ops does, and nothing of what detects them. Names
are PyTorch's, so that what a learner knows carries over.
"""

from nn import checkpoint, functional, inference, init, kernels, models, optim, weights
from nn.gradcheck import GradientError, gradcheck
from nn.init import manual_seed
from nn.kernels import get_num_threads, set_num_threads
from nn.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GroupNorm,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    ReLU6,
    Sigmoid,
)
from nn.module import Module, ModuleList, Parameter, Sequential, evaluating
from nn.summary import Summary, summary
from nn.tensor import Tensor, is_grad_enabled, no_grad

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GradientError",
    "GroupNorm",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "Sigmoid",
    "Summary",
    "Tensor",
    "checkpoint",
    "evaluating",
    "functional",
    "get_num_threads",
    "gradcheck",
    "inference",
    "init",
    "is_grad_enabled",
    "kernels",
    "manual_seed",
    "models",
    "no_grad",
    "optim",
    "set_num_threads",
    "summary",
    "weights",
]
