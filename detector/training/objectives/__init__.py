"""What can be learned: ``OBJECTIVES`` lists it; ``Trainer`` takes any."""

from nn.table import Table

OBJECTIVES = Table(
    "task",
    {
        "detection": "detector.training.objectives.detection:Detection",
        "classification": "detector.training.objectives.classification:Classification",
    },
)
