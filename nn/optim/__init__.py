"""Learning: rules that turn gradients into steps, learning rate schedules, gradient clipping.

Each rule is a pure function on arrays (``momentum_step``), which the parameter server calls too,
and an optimiser (``MomentumSGD``) that applies it to parameters and keeps what it must remember.
"""

from nn.optim.adam import Adam, AdamW, adam_step
from nn.optim.clipping import clip_grad_norm
from nn.optim.lars import LARS, lars_step
from nn.optim.momentum import SMALL, MomentumSGD, contribution, momentum_step
from nn.optim.optimizer import Optimizer, as_groups
from nn.optim.rmsprop import RMSprop, rmsprop_step
from nn.optim.schedules import cosine_decay, linear_decay, product, step_decay, warmup

__all__ = [
    "LARS",
    "SMALL",
    "Adam",
    "AdamW",
    "MomentumSGD",
    "Optimizer",
    "RMSprop",
    "adam_step",
    "as_groups",
    "clip_grad_norm",
    "contribution",
    "cosine_decay",
    "lars_step",
    "linear_decay",
    "momentum_step",
    "product",
    "rmsprop_step",
    "step_decay",
    "warmup",
]
