"""The exercises of chapter 06: a shuffle's gradient, what a block costs and what passes through."""

from __future__ import annotations

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.watching import by_hand
from nn.models.shufflenet_v2 import BLOCKS, CHANNELS


def _shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    N, C, *size = x.shape
    return x.reshape(N, groups, C // groups, *size).swapaxes(1, 2).reshape(x.shape)


def _shuffle_backward(grad_output, groups):
    N, C, H, W = grad_output.shape
    table = grad_output.reshape(N, C // groups, groups, H, W)  # the table after the transpose
    return table.transpose(0, 2, 1, 3, 4).reshape(N, C, H, W)


def _check_shuffle_backward(answer) -> None:
    answer = by_hand(answer)
    for channels, groups in ((6, 2), (12, 3), (8, 2)):
        before = np.arange(2.0 * channels * 2 * 3).reshape(2, channels, 2, 3)
        after = _shuffle(before, groups)
        found = answer(after, groups)
        if np.shape(found) != before.shape:
            raise Wrong(f"for a gradient {before.shape} it returns the shape {np.shape(found)}.")
        if (found == before).all():
            continue
        if (found == _shuffle(after, groups)).all():
            raise Wrong(
                "this shuffles once more instead of undoing the shuffle. With C = groups x groups "
                "the two are the same, with any other C they are not."
            )
        if (found == after).all():
            raise Wrong(
                "the gradient comes back in the order in which it went in. If you reshape, the "
                "two middle axes have to change places in between."
            )
        if (np.sort(found, axis=None) == np.sort(after, axis=None)).all():
            raise Wrong(
                f"every number is there, but with {channels} channels in {groups} groups they are "
                "in the wrong places. Which channel of the input became channel 1 of the output?"
            )
        raise Wrong("a shuffle moves numbers: its gradient holds the same numbers, moved back.")


def _sandwich(channels):
    return 2 * channels**2 + 9 * channels  # for each pixel


def _widest_branch(channels):
    width = 0
    while 2 * _sandwich(width + 1) <= _sandwich(channels):
        width += 1
    return width


def _untouched_channels(channels, blocks):
    # Channel k is in the left half again after i blocks if 2^i k < channels / 2.
    return -(-channels // 2**blocks)


def _check_untouched_channels(answer) -> str | None:
    for channels, blocks in ((16, 0), (16, 2), (232, 3), (232, 4), (16, 5), (116, 3), (48, 40)):
        found, expected = answer(channels, blocks), _untouched_channels(channels, blocks)
        if found == expected:
            continue
        asked = f"{channels} channels and {blocks} blocks"
        if blocks == 0:
            raise Wrong(f"with {asked} nothing is touched: expected {channels}, not {found}.")
        if found == channels // 2**blocks:
            raise Wrong(
                f"for {asked} you round down to {found}. Channel 0 always passes, and so does "
                "every channel k with k < channels / 2^blocks: how many are these?"
            )
        if found == round(channels / 2**blocks):
            raise Wrong(f"for {asked} rounding to the nearest gives {found}: count them instead.")
        if not float(found).is_integer():
            raise Wrong(f"for {asked} you have {found:g} channels; a channel passes or does not.")
        if found == channels - expected:
            raise Wrong(f"for {asked}, {found} is the number of channels that were touched.")
        raise Wrong(
            f"for {asked} the count is {expected}, not {found}. A channel passes while it is "
            "in the left half, and the shuffle moves place k of the left half to place 2 k."
        )
    return "Right. Channel 0 passes through all of them: in a real stage, too, it is never changed."


def _star_parameters() -> int:
    total = 0
    before, *stages, _ = CHANNELS[1.0]
    for out, count in zip(stages, BLOCKS.values(), strict=True):
        depthwise_inputs = before + (count - 1) * out // 2
        total += depthwise_inputs * (3 * 3 + 2)  # a window and a batch norm for each channel
        before = out
    return total


def _check_star_parameters(answer) -> None:
    right = _star_parameters()
    channels = right // 11
    stages = list(zip(CHANNELS[1.0][1:4], BLOCKS.values(), strict=True))
    everywhere_half = sum(out // 2 * count for out, count in stages)
    before = CHANNELS[1.0][:3]
    everywhere_all = sum(
        start + out * (count - 1) for start, (out, count) in zip(before, stages, strict=True)
    )
    only_stride_1 = sum(out // 2 * (count - 1) for out, count in stages)
    known = {
        9 * channels: "the batch norm is missing: a weight and a bias for each channel.",
        10 * channels: "batch norm learns two numbers a channel, a weight and a bias.",
        13 * channels: "the running mean and variance are not parameters: nothing learns them.",
        12 * channels: "the convolution has no bias, as everywhere in this network: batch norm "
        "takes the mean away at once.",
        11 * everywhere_all: "at stride 1 the right branch gets half of the channels.",
        11 * everywhere_half: "at stride 2 the right branch gets all channels of the stage before, "
        "which is half of the new ones for stages 3 and 4 but not for stage 2.",
        11 * only_stride_1: "the blocks of stride 2 have one as well, on all of their inputs.",
    }
    if answer in known:
        raise Wrong(known[answer])
    if answer != right:
        raise Wrong(
            f"{answer} is not it. For each block: how many channels enter the right branch, "
            "times (nine places of a window + what a batch norm learns)."
        )


shuffle_backward = Exercise(
    "shuffle_backward",
    check=_check_shuffle_backward,
    hints=(
        "The forward pass writes the channels into a table (groups, C / groups) and reads it "
        "column by column. What shape has the table after its transpose?",
        "Reshape to (N, C / groups, groups, H, W), swap the axes 1 and 2, reshape back.",
    ),
    reference=_shuffle_backward,
    keeps="shuffle:shuffle_backward",
)

widest_branch = FunctionExercise(
    "widest_branch",
    reference=_widest_branch,
    cases=[(116,), (232,), (464,), (48,), (24,), (10,), (2,)],
    mistakes={
        "half of the channels cost only a quarter. At half the price more can be worked on.": (
            lambda c: c // 2
        ),
        "that leaves out the depthwise convolution, whose price does not grow with the square.": (
            lambda c: int(c / math.sqrt(2))
        ),
        "that many cost a little more than half: take the largest number that does not.": (
            lambda c: _widest_branch(c) + 1
        ),
        "that is how many pass untouched.": lambda c: c - _widest_branch(c),
        "there are two pointwise convolutions in the sandwich.": (
            lambda c: max(w for w in range(c) if 2 * (w * w + 9 * w) <= c * c + 9 * c)
        ),
        "a depthwise convolution has 9 multiply-adds for each pixel and channel.": (
            lambda c: max(w for w in range(c) if 2 * (2 * w * w + w) <= 2 * c * c + c)
        ),
        "compare with half of the price of all channels, not with all of it.": lambda c: c,
    },
    hints=(
        "For each pixel the sandwich on w channels has w w + 9 w + w w multiply-adds.",
        "Look for the largest w with 2 (2 w w + 9 w) <= 2 c c + 9 c: try them all, or solve the "
        "quadratic equation and round down.",
    ),
    praise="Right: about seven tenths of the channels for half of the price.",
)

untouched_channels = Exercise(
    "untouched_channels",
    check=_check_untouched_channels,
    hints=(
        "Follow one channel: in the left half at place k, it is at place 2 k after the shuffle. "
        "When is it in the left half once more?",
        "Channel k passes all blocks if k < channels / 2^blocks. Count the k, from 0.",
    ),
    reference=_untouched_channels,
)

star_parameters = Exercise(
    "star_parameters",
    check=_check_star_parameters,
    hints=(
        "A depthwise convolution has 9 weights a channel, batch norm 2 parameters a channel.",
        "Stage 2: the first block's right branch gets the stem's 24 channels, the other three "
        "blocks' get 58 each. Go on like that with stages 3 and 4.",
    ),
    reference=_star_parameters(),
)


# Bug hunt

hunt = Hunt(
    '''
def max_pool_of_one(x):
    """(H, W) -> (OH, OW), the largest of each 3 x 3 window; stride 2, padding 1."""
    OH, OW = ((size - 1) // 2 + 1 for size in x.shape)
    padded = np.pad(x, 1)
    taps = [padded[u : u + 2 * OH - 1 : 2, v : v + 2 * OW - 1 : 2] for u, v in np.ndindex(3, 3)]
    return np.max(taps, axis=0)
''',
    mend=("np.pad(x, 1)", "np.pad(x, 1, constant_values=-np.inf)"),
    tests={
        "behind a ReLU, where nothing is negative": (np.array([[0.0, 2.0], [1.0, 0.0]]),),
        "five columns": (np.arange(15.0).reshape(3, 5),),
        "nothing but negative numbers": (np.array([[-1.0, -2.0], [-3.0, -4.0]]),),
    },
    hints=(
        "Where does the number that comes out stand in the map? Nowhere.",
        "np.pad fills with zeros, and a zero wins against every negative number.",
    ),
)
