"""A trained model made ready for use: constants folded, nothing kept for a backward pass."""

from nn.inference.compiled import CompiledModule, compile
from nn.inference.fold import fold_batch_norms, fold_conv_batch_norm

__all__ = ["CompiledModule", "compile", "fold_batch_norms", "fold_conv_batch_norm"]
