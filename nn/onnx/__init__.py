"""Networks as ONNX graphs, written node by node from the operations that they are made of.

``graph`` builds any graph, ``network`` writes a module into one, and ``emitters`` is the table that
says what each operation becomes. Needs the package ``onnx`` (the extra ``export``).
"""
