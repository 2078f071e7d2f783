"""Names for files and folders that every system takes, whatever the thing itself is called."""

from __future__ import annotations

from detector.datasets.files import composed

MOST_BYTES = 120  # of 255, so that numbers and suffixes can follow
FORBIDDEN = '<>:"/\\|?*'  # by Windows, which has most rules
# Windows' devices, with any suffix.
DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{k}" for port in ("com", "lpt") for k in range(10)),
}


def safe_name(name: str) -> str:
    """The name without what a system forbids, hides or takes for a path; at most 120 bytes.

    >>> safe_name("../a:b")
    '_a_b'
    """
    text = "".join(
        "_" if letter in FORBIDDEN or not letter.isprintable() else letter
        for letter in composed(name)
    )
    text = text.encode()[:MOST_BYTES].decode(errors="ignore").lstrip(". ").rstrip(". ")
    return f"_{text}" if not text or text.partition(".")[0].lower() in DEVICES else text
