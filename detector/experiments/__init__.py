"""Experiments: tables of papers, filled in again on this machine.

``EXPERIMENTS`` lists them all.
"""

from nn.table import Table

EXPERIMENTS = Table(
    "experiment",
    {
        "table-4.2": (
            "detector.experiments.table_4_2:TABLE_4_2",
            "the detectors of the thesis's table 4.2: what they cost, how fast and how good they "
            "are here",
        ),
        "heads": (
            "detector.experiments.heads:HEADS",
            "detectors of one and two stages on one backbone",
        ),
        "equal-budgets": (
            "detector.experiments.equal_budgets:EQUAL_BUDGETS",
            "four backbones of 140 to 150 million multiply-adds, learned alike",
        ),
    },
)
