"""A zip archive read without trust: what ``.npz`` and PyTorch's ``.pth`` files are inside.

Members are looked up by their exact name and read into memory; nothing is ever extracted, so a
name cannot become a path. Before the first byte is unpacked, the sizes the archive announces are
added up and held against a budget: a bomb of 40 kB that says it holds 4 GB is refused unopened.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from typing import BinaryIO

from nn.weights.errors import WeightsError

# What a file may unpack to: 20 times its size (trained weights hardly compress at all), but 64 MiB
# are always free, and 4 GiB are never exceeded.
MAX_RATIO = 20
FREE_BYTES = 64 * 2**20
MAX_BYTES = 4 * 2**30

# All that Python's zip reader may raise when the bytes are not what they should be.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class Archive:
    """The members of one open zip file.

    Attributes:
        sizes: unpacked bytes by member name, as announced, in the archive's order.
        budget: bytes this file may unpack to, all told.

    Raises:
        WeightsError: for a damaged, encrypted or oddly compressed archive, names that climb out of
            the archive or occur twice, and sizes that do not fit the file or the budget.
    """

    def __init__(self, path: str | os.PathLike, file: BinaryIO):
        self.path = path
        file_size = os.fstat(file.fileno()).st_size
        self.budget = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * file_size))
        try:
            self._zip = zipfile.ZipFile(file)
        except DAMAGE as error:
            raise WeightsError(path, f"truncated or damaged zip archive ({error})") from None
        self.sizes: dict[str, int] = {}
        for member in self._zip.infolist():
            self._check(member, file_size)
            self.sizes[member.filename] = member.file_size
        total = sum(self.sizes.values())
        if total > self.budget:
            raise WeightsError(
                path, f"{file_size} bytes that unpack to {total}: over the limit of {self.budget}"
            )

    def read(self, name: str) -> bytes:
        """The whole content of one member; its checksum is verified."""
        size = self.sizes.get(name)
        if size is None:
            raise WeightsError(self.path, f"incomplete: the member {name!r} is missing")
        try:
            with self._zip.open(name) as member:
                # With the size given, a stream that inflates to more stops there.
                content = member.read(size)
        except DAMAGE as error:
            raise WeightsError(self.path, f"member {name!r} is damaged ({error})") from None
        if len(content) != size:
            raise WeightsError(
                self.path, f"member {name!r} is truncated: {len(content)} of {size} bytes"
            )
        return content

    def _check(self, member: zipfile.ZipInfo, file_size: int) -> None:
        name = member.filename
        if name in self.sizes:
            raise WeightsError(self.path, f"two members are called {name!r}")
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise WeightsError(self.path, f"member name {name!r} points outside the archive")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(self.path, f"member {name!r} is compressed in an unknown way")
        packed = member.compress_size
        unchanged = member.compress_type == zipfile.ZIP_STORED
        if packed > file_size or (unchanged and packed != member.file_size):
            raise WeightsError(
                self.path,
                f"member {name!r} announces {member.file_size} bytes, stored as {packed}, "
                f"in a file of {file_size}",
            )
