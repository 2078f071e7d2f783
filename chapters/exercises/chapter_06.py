"""The exercises of chapter 06: a shuffle's gradient, what a block costs and what passes through."""

from __future__ import annotations

import numpy as np

from exercises.exercise import Exercise, Wrong
from nn.models.shufflenet_v2 import BLOCKS, CHANNELS


def _shuffle(x: np.ndarray, groups: int) -> np.ndarray:
    N, C, *size = x.shape
    return x.reshape(N, groups, C // groups, *size).swapaxes(1, 2).reshape(x.shape)


def _shuffle_backward(grad_output, groups):
    N, C, H, W = grad_output.shape
    table = grad_output.reshape(N, C // groups, groups, H, W)  # the table after the transpose
    return table.transpose(0, 2, 1, 3, 4).reshape(N, C, H, W)


def _check_shuffle_backward(answer) -> None:
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


def _block_multiply_adds(channels, height, width):
    half = channels // 2
    pointwise, depthwise = half * half, 3 * 3 * half
    return height * width * (pointwise + depthwise + pointwise)


def _check_block_multiply_adds(answer) -> None:
    channels, height, width = 116, 28, 20
    half, pixels = channels // 2, height * width
    known = {
        pixels * (2 * channels**2 + 9 * channels): "the block works on half of its channels, "
        "the others pass untouched.",
        pixels * (half**2 + 9 * half): "there are two pointwise convolutions, one before and one "
        "after the depthwise one.",
        pixels * 2 * half**2: "the depthwise convolution is missing: 3 x 3 multiply-adds for each "
        "pixel of each channel.",
        pixels * (2 * half**2 + 9 * half**2): "a depthwise convolution looks at one channel at a "
        "time: 9 multiply-adds a pixel and channel, not 9 for each pair of channels.",
        2 * half**2 + 9 * half: "this is the cost of one pixel; the map has height x width.",
        2 * pixels * (2 * half**2 + 9 * half): "a multiplication and its addition count as one "
        "multiply-add, here and in the thesis.",
        pixels * (2 * half**2 + half): "the depthwise window has 3 x 3 places.",
    }
    found = answer(channels, height, width)
    if found in known:
        raise Wrong(known[found])
    if found != _block_multiply_adds(channels, height, width):
        raise Wrong(
            f"for {channels} channels on {height} x {width} you count {found}. Add up the three "
            "convolutions of the right branch; splitting, joining and shuffling cost none."
        )
    other = (
        2 * np.random.default_rng().integers(20, 200),
        *np.random.default_rng().integers(5, 60, 2),
    )
    if answer(*map(int, other)) != _block_multiply_adds(*map(int, other)):
        raise Wrong("right for one map but not for another: does it use all its arguments?")


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

block_multiply_adds = Exercise(
    "block_multiply_adds",
    check=_check_block_multiply_adds,
    hints=(
        "Which channels does the block work on? The others are free.",
        "Per pixel: half x half for each of two pointwise convolutions, 3 x 3 x half for the "
        "depthwise one.",
    ),
    reference=_block_multiply_adds,
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
