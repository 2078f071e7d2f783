"""The glossary: what it names is there, and no word is there twice."""

from __future__ import annotations

import re
from pathlib import Path

GLOSSARY = Path(__file__).parents[1] / "docs" / "glossary.md"
TEXT = GLOSSARY.read_text(encoding="utf-8")
ENTRIES = re.findall(r"^- \*\*(.+?)\*\*: (.+)$", TEXT, re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def test_every_entry_says_something_and_names_its_file():
    assert len(ENTRIES) == TEXT.count("\n- ") > 60
    for words, text in ENTRIES:
        links = LINK.findall(text)
        assert any(target.endswith(".py") for _, target in links), words
        sentences = LINK.sub("", text)
        assert 20 < len(sentences) < 240, words


def test_every_file_and_chapter_is_there():
    for name, target in LINK.findall(TEXT):
        path = GLOSSARY.parent / target
        assert path.is_file(), target
        if path.suffix == ".ipynb":
            assert path.name.startswith(f"{name}_"), target
        else:
            assert name == (path.parent.name if path.stem == "__init__" else path.stem), target


def test_every_chapter_explains_some_word():
    named = set(re.findall(r"chapters/(\d\d)_", TEXT))
    chapters = {path.name[:2] for path in (GLOSSARY.parents[1] / "chapters").glob("[0-9]*.ipynb")}
    # Principles measured, and a classifier trained: no words of their own.
    assert chapters - named == {"05", "07"}


def test_no_word_is_explained_twice():
    words = [word.lower() for entry, _ in ENTRIES for word in entry.split(", ")]
    assert len(words) == len(set(words))


def test_chapters_say_the_words_they_are_named_for():
    for words, text in ENTRIES:
        for _, target in LINK.findall(text):
            if target.endswith(".ipynb"):
                chapter = (GLOSSARY.parent / target).read_text(encoding="utf-8").lower()
                said = re.split(r", | \.\. ", words.lower())
                assert any(word in chapter for word in said), (words, target)
