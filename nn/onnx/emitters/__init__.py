"""What operations are in ONNX, one file a topic.

An emitter is a function (graph, seen, *inputs) that appends nodes and returns the name of the
output; ``inputs`` are names, or arrays that are constants. What it cannot express raises
``NotImplementedError`` with the reason. A new operation is one function and one row.
"""

from nn.onnx.emitters import elements, layers, pooling, shapes

EMITTERS = elements.EMITTERS | layers.EMITTERS | pooling.EMITTERS | shapes.EMITTERS
