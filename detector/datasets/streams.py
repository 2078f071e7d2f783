"""Random numbers as a pure function of where they are used.

Everything random about the data (a synthetic picture, the order of an epoch, the flip of an image)
asks here for a fresh generator. Nothing is carried from one call to the next, so a training run
that is killed and resumed sees the numbers it would have seen anyway.
"""

from __future__ import annotations

import numpy as np

# One stream per use; two uses never share numbers even where seed, epoch and index are the same.
TRAIN_SCENES, VAL_SCENES, SHUFFLE, TRANSFORM, BATCH, SAMPLING = range(6)


def generator(seed: int, stream: int, epoch: int = 0, index: int = 0) -> np.random.Generator:
    """A generator for one place in the run.

    Philox is counter-based: (seed, stream) is its key, (epoch, index) the upper half of its 256-bit
    counter, which leaves 2**128 numbers to each place (Salmon et al. 2011, "Parallel random
    numbers: as easy as 1, 2, 3").

    Raises ValueError unless all four are in [0, 2**64).
    """
    if not all(0 <= number < 2**64 for number in (seed, stream, epoch, index)):
        raise ValueError(
            "seed, stream, epoch and index are whole numbers from 0 to 2**64 - 1, "
            f"not {seed}, {stream}, {epoch}, {index}"
        )
    key = seed | stream << 64
    counter = epoch << 128 | index << 192
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
