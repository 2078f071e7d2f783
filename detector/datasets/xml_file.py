"""Parses an XML file that may have been made to do harm.

XML can define entities that expand to gigabytes or read other files. Annotations need none of it,
so a document type declaration, the only place for them, is refused.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 50


def parse_xml(path: Path) -> Element:
    """The root element of a file, without the prefixes of namespaces.

    Raises:
        ValueError: it is too large, too deep, not well-formed, or declares a document type; one
            line that does not name the file.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"its elements are nested more than {MAX_DEPTH} deep")
        builder.start(tag.rpartition(":")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition(":")[2])

    def refuse(*declaration) -> None:
        raise ValueError("it declares a document type, which is unsafe: remove <!DOCTYPE ...>")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"it is not well-formed XML ({error})") from None
    except LookupError as error:  # an encoding that Python does not know
        raise ValueError(f"it is not well-formed XML ({error})") from None
    return builder.close()
