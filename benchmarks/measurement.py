"""Times by rounds, and the ratios that hold where single times do not.

On a shared machine a time drifts by tens of percent within a minute. So the contestants take
turns, a tenth of a second each; a ratio is taken within each round, and what is reported is the
median of these ratios and the quartiles around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmarks.contestants import EAGER, OURS


class Spread(NamedTuple):
    """The median and the quartiles around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values) -> Spread:
        low, median, high = np.percentile(values, [25, 50, 75])
        return cls(float(median), float(low), float(high))


@dataclass
class Measurement:
    """What was measured of one case.

    Attributes:
        name: of the case; ``group``: where it belongs.
        multiply_adds: of one call.
        times: how often its network does this work.
        rounds: (contestant's name, threads) -> seconds of a call in each round.
        memory: contestant's name -> bytes, see ``worker.Worker.memory``.
        absent: contestant's name -> why it did not take part.
        disturbed: how many turns had to share the processors with other programs.
    """

    group: str
    name: str
    multiply_adds: int
    times: int = 1
    rounds: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    disturbed: int = 0

    def threads(self) -> list[int]:
        return sorted({threads for _, threads in self.rounds})

    def has(self, name: str, threads: int) -> bool:
        return (name, threads) in self.rounds

    def seconds(self, name: str, threads: int) -> float:
        """The median time of one call."""
        return float(np.median(self.rounds[name, threads]))

    def gflops(self, name: str, threads: int) -> float:
        """Billions of floating point operations a second; a multiply-add is two."""
        return 2 * self.multiply_adds / self.seconds(name, threads) / 1e9

    def ratio(self, one: tuple[str, int], other: tuple[str, int]) -> Spread:
        """Time of ``one`` divided by time of ``other``, both (name, threads), round by round."""
        return Spread.of(np.divide(self.rounds[one], self.rounds[other]))

    def eager(self, threads: int) -> str | None:
        """The name of PyTorch's faster layout."""
        present = [c.name for c in EAGER if self.has(c.name, threads)]
        return min(present, key=lambda name: self.seconds(name, threads), default=None)

    def against(self, peer: str | None, threads: int) -> Spread | None:
        """Ours divided by the peer's, None if one of them is absent."""
        if peer is None or not (self.has(OURS.name, threads) and self.has(peer, threads)):
            return None
        return self.ratio((OURS.name, threads), (peer, threads))
