"""Tables in Markdown from measurements."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence

from benchmarks.bars import Line, plural
from benchmarks.contestants import COMPILED, FOLDED, OURS, RUNTIMES
from benchmarks.measurement import Measurement, Spread
from benchmarks.shares import KINDS
from detector.reporting.facts import processor

MEGABYTE = 2**20
Peak = dict[int, float]  # number of threads -> GFLOP/s


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown with the first column to the left and the others to the right."""
    rules = [":--"] + ["--:"] * (len(header) - 1)
    lines = [header, rules, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Processor, cores and system in one line."""
    return f"{processor()}, {platform.system()}, Python {platform.python_version()}"


def peak_of(measurement: Measurement) -> Peak:
    """The fastest of anybody in any round, for each number of threads."""
    speeds: Peak = {}
    for (_, threads), seconds in measurement.rounds.items():
        speed = 2 * measurement.multiply_adds / min(seconds) / 1e9
        speeds[threads] = max(speeds.get(threads, 0.0), speed)
    return speeds


def speeds(peak: Peak) -> str:
    return ", ".join(f"{peak[n]:.0f} GFLOP/s with {plural(n)}" for n in sorted(peak))


def group_table(measurements: list[Measurement], peak: Peak) -> str:
    """One row for each case and number of threads."""
    header = [
        "work", "threads", "ours", "GFLOP/s", "of peak", "PyTorch eager", "ours / eager",
        "ours / folded", "ours / compiled",
    ]  # fmt: skip
    for runtime in RUNTIMES:
        header += [runtime.name, f"ours / {runtime.name}"]
    rows = [
        speed_row(measurement, threads, peak)
        for measurement in measurements
        for threads in measurement.threads()
    ]
    # Columns of peers that did none of this are left out.
    used = [i for i in range(len(header)) if i < 5 or any(row[i] != "-" for row in rows)]
    return table([header[i] for i in used], [[row[i] for i in used] for row in rows])


def speed_row(measurement: Measurement, threads: int, peak: Peak) -> list[str]:
    eager = measurement.eager(threads)
    times = f" (x {measurement.times})" if measurement.times > 1 else ""
    name = f"{measurement.name}{times}"
    row = [name, str(threads), milliseconds(measurement, OURS.name, threads)]
    if measurement.has(OURS.name, threads):
        speed = measurement.gflops(OURS.name, threads)
        row += [f"{speed:.0f}", f"{speed / peak[threads]:.0%}" if peak.get(threads) else "-"]
    else:
        row += ["-", "-"]
    row += [
        milliseconds(measurement, eager, threads),
        spread(measurement.against(eager, threads)),
        spread(measurement.against(FOLDED.name, threads)),
        spread(measurement.against(COMPILED.name, threads)),
    ]
    for runtime in RUNTIMES:
        row += [
            milliseconds(measurement, runtime.name, threads),
            spread(measurement.against(runtime.name, threads)),
        ]
    return row


def memory_table(measurements: list[Measurement]) -> str:
    """Megabytes of a fresh process at its highest, and how much of it the imports alone take."""
    measured = [m for m in measurements if m.memory]
    names = list(dict.fromkeys(name for m in measured for name in m.memory))
    rows = [[m.name, *(megabytes(m.memory.get(name)) for name in names)] for m in measured]
    return table(["peak memory in MB (of it imports)", *names], rows)


def scaling_table(measurements: list[Measurement], threads: int) -> str:
    """How many times as fast everybody is with ``threads`` threads as with one.

    What a second processor brings depends on where it sits, too: compare with the others.
    """
    names = list(dict.fromkeys(name for m in measurements for name, _ in m.rounds))
    rows = [
        [
            m.name,
            *(
                spread(m.ratio((name, 1), (name, threads)))
                if m.has(name, 1) and m.has(name, threads)
                else "-"
                for name in names
            ),
        ]
        for m in measurements
    ]
    return table([f"{threads} threads against 1", *names], rows)


def busy_table(alone: list[Measurement], beside: list[Measurement], threads: int) -> str:
    """One row for each case and contestant: its times, and all threads against one."""
    rows = []
    for quiet, busy in zip(alone, beside, strict=True):
        for name in dict.fromkeys(name for name, _ in quiet.rounds):
            row = [quiet.name, name]
            for measured in (quiet, busy):
                row += [milliseconds(measured, name, count) for count in (1, threads)]
                has_both = measured.has(name, 1) and measured.has(name, threads)
                row.append(spread(measured.ratio((name, threads), (name, 1)) if has_both else None))
            rows.append(row)
    both = ["1 thread", f"{threads} threads", f"{threads} / 1"]
    return table(["work", "", *both, *(f"busy: {column}" for column in both)], rows)


def megabytes(memory: dict[str, int] | None) -> str:
    if memory is None:
        return "-"
    return f"{memory['peak'] / MEGABYTE:.0f} ({memory['imports'] / MEGABYTE:.0f})"


def shares_table(shares: dict[str, dict[str, float]]) -> str:
    """One row for each contestant: milliseconds, and the part of them that each kind takes."""
    rows = []
    for name, seconds in shares.items():
        total = sum(seconds.values())
        parts = [f"{seconds[kind] / total:.0%}" for kind in KINDS]
        rows.append([name, f"{total * 1000:.1f} ms", *parts])
    return table(["one thread", "time", *KINDS], rows)


def bars_table(lines: list[Line]) -> str:
    rows = []
    for line in lines:
        verdict = {True: "yes", False: "**no**", None: "not measured"}[line.holds]
        bar = f"{'>=' if line.at_least else '<='} {line.bar:g}"
        rows.append([line.what, spread(line.value), bar, verdict])
    return table(["what", "measured", "bar", "holds"], rows)


def absences(measurements: list[Measurement]) -> list[str]:
    """Who did not take part in what, and why."""
    return [
        f"{name} is missing from {measurement.name}: {reason}"
        for measurement in measurements
        for name, reason in measurement.absent.items()
    ]


def milliseconds(measurement: Measurement, name: str | None, threads: int) -> str:
    if name is None or not measurement.has(name, threads):
        return "-"
    time = measurement.seconds(name, threads) * 1000
    return f"{time:.3f} ms" if time < 1 else f"{time:.1f} ms"


def spread(value: Spread | None) -> str:
    """``0.52 (0.50-0.55)``: the median and the quartiles."""
    if value is None:
        return "-"
    return f"{value.median:.2f} ({value.low:.2f}-{value.high:.2f})"
