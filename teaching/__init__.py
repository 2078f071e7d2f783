"""For teachers: chapters whose answers are out of sight, and the grading of what comes back.

``python -m teaching.student`` writes the chapters to hand out; ``lighthead grade`` (``grade.py``)
runs the hand-ins (``kernel.py``), whose cells and answers ``hand_in.py`` finds, and lets
``verdict.py`` ask our checks. docs/teaching.md is the page about it.
"""
