"""How operations become steps of a compiled network, one file a topic.

A lowering is a function (network, call) that returns whether it has taken the call. It adds to
``network.steps`` or makes the call a part of a step that is there. What is in no table runs by its
plain forward, as a stage of its own. A new operation is one function and one row.
"""

from nn.inference.lowerings import activation, arithmetic, channels, convolution, pooling

LOWERINGS = (
    convolution.LOWERINGS
    | arithmetic.LOWERINGS
    | activation.LOWERINGS
    | pooling.LOWERINGS
    | channels.LOWERINGS
)
