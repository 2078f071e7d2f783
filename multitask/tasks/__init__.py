"""Ready tasks: the thesis's two uses of distributed multitask learning (its section 4.2).

``joint``: a detector, and a classifier that shares its backbone. ``multi_scale``: the same detector
at two input sizes, which shares everything. Both have a task called ``detection`` that is, by
itself, the training of ``lighthead train``.
"""

from multitask.tasks.classification import Classification
from multitask.tasks.detection import Detection
from multitask.tasks.settings import SETTINGS, joint, make, multi_scale, single

__all__ = ["SETTINGS", "Classification", "Detection", "joint", "make", "multi_scale", "single"]
