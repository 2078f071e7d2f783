"""A trained model made ready for use: constants folded, nothing kept for a backward pass."""

from nn.inference.fold import fold_batch_norms, fold_conv_batch_norm

__all__ = ["fold_batch_norms", "fold_conv_batch_norm"]
