"""What the server does about tasks that are gone, slow or wrong: the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """The defaults lose no bit and no contribution: the server waits, then stops and says why.

    Attributes:
        silence: seconds without a sign of life after which a site counts as lost.
        heartbeat: seconds between the signs of life that the server gives.
        rejoin_timeout: seconds that training waits for a lost task to come back.
        on_lost: what then happens: ``"stop"``, or ``"evict"``: the others go on without it (from
            that iteration on the sums, and so the results, are other ones).
        slow_warning: seconds after which a task that others wait for is reported.
        straggler_timeout: seconds after which it is treated like a lost one; None: never.
        on_non_finite: what a contribution with NaN or infinity does: ``"stop"``, or ``"skip"``: the
            task contributes nothing in that iteration.
        snapshot_every: iterations between snapshots.
    """

    silence: float = 10.0
    heartbeat: float = 2.0
    rejoin_timeout: float = 60.0
    on_lost: str = "stop"
    slow_warning: float = 60.0
    straggler_timeout: float | None = None
    on_non_finite: str = "stop"
    snapshot_every: int = 100

    def __post_init__(self):
        if self.on_lost not in ("stop", "evict") or self.on_non_finite not in ("stop", "skip"):
            raise ValueError(
                f"on_lost {self.on_lost!r} must be stop or evict, "
                f"on_non_finite {self.on_non_finite!r} stop or skip"
            )
        if not 0 < self.heartbeat < self.silence or self.snapshot_every < 1:
            raise ValueError(
                f"heartbeat {self.heartbeat} must be shorter than silence {self.silence}, and "
                f"snapshot_every {self.snapshot_every} at least 1"
            )
