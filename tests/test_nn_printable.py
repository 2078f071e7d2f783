"""Names as they are printed: nothing in them acts on the terminal."""

import unicodedata

import pytest

from nn.printable import printable


@pytest.mark.parametrize(
    "text, expected",
    [
        ("größe 大 \U0001f600", "größe 大 \U0001f600"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),  # a joiner that Persian needs
        ("a\nb\r\n", "a\\nb\\r\\n"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J\x7f\0", "\\x9b2J\\x7f\\x00"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\udcff", "\\udcff"),
        (r"C:\new\x1b", r"C:\new\x1b"),
        (17, "17"),
    ],
)
def test_what_acts_is_spelled_out(text, expected):
    assert printable(text) == expected


def test_every_character_there_is():
    """What Python's own ``str.splitlines`` breaks at, and all controls, are gone."""
    for number in range(0x110000):
        shown = printable(chr(number))
        assert len(shown.splitlines()) == 1
        assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in shown), hex(number)


def test_the_middle_of_a_long_text_is_left_out():
    shown = printable("a" * 10**6 + "\n" + "b" * 10**6, 20)
    assert shown == "a" * 10 + " ... " + "b" * 10
