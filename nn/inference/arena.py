"""Where every map of a compiled network lies in memory.

All maps of one size share a ``Shelf``. It has slots, each with room for one plane of every image
of the batch. A slot is given back when nobody needs its plane any more and taken by a later map of
the same size; the whole shelf's memory is taken by later shelves when its last plane is done with.
The less memory, the more of it is in a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush

import numpy as np

from nn.kernels.matmul import LINE

FOREVER = 1 << 60
# Planes this many floats apart, or a line more or less, would compete for the same few lines of
# the cache; those an even number of lines apart, for half of them or fewer.
CONFLICT = 1024


@dataclass(eq=False)
class Shelf:
    """Planes of ``height`` x ``width`` pixels.

    ``external`` planes are the network's input, an array (N, C, H, W) that is not in the arena:
    they follow each other without a gap, as planes of one pixel do.
    """

    height: int
    width: int
    slots: int = 0
    free: list[int] = field(default_factory=list)
    start: int = 0  # of the first slot, in the arena
    external: bool = False

    @cached_property
    def size(self) -> int:
        """Numbers from one plane to the next."""
        size = self.height * self.width
        if self.external or size == 1:
            return size
        size = -(-size // LINE) * LINE
        while size // LINE % 2 == 0 or size % CONFLICT in (LINE, CONFLICT - LINE):
            size += LINE
        return size

    @property
    def image(self) -> int:
        """Numbers from one image of the batch to the next."""
        return self.slots * self.size

    def take(self) -> int:
        """The lowest free slot; a new one if there is none."""
        if not self.free:
            self.slots += 1
            return self.slots - 1
        return heappop(self.free)


@dataclass(eq=False)
class Plane:
    """One channel of a map.

    ``first`` and ``last`` are the moments at which it is computed and read for the last time;
    between them ``slot`` belongs to it.
    """

    shelf: Shelf
    first: int
    last: int
    slot: int = -1

    @property
    def place(self) -> int:
        """Where pixel (0, 0) of the first image lies in the arena."""
        return self.shelf.start + self.slot * self.shelf.size


@dataclass(eq=False)
class Below:
    """A plane from its row number ``rows`` on."""

    plane: Plane
    rows: int

    @property
    def shelf(self) -> Shelf:
        return self.plane.shelf

    @property
    def place(self) -> int:
        return self.plane.place + self.rows * self.shelf.width

    @property
    def last(self) -> int:
        return self.plane.last

    @last.setter
    def last(self, moment: int) -> None:
        self.plane.last = moment


class Arena:
    """Hands out planes while the plan is made; in the end each gets its place.

    ``moment`` counts the steps; whoever plans moves it on.
    """

    def __init__(self, images: int):
        self.images = images
        self.moment = 0
        self.shelves: dict[tuple, Shelf] = {}
        self.planes: list[Plane] = []

    def new_planes(self, size: tuple[int, int], count: int, use: str = "map") -> list[Plane]:
        """Planes computed now; only those of one use ever share memory."""
        shelf = self.shelves.setdefault((*size, use), Shelf(*size))
        planes = [Plane(shelf, self.moment, self.moment) for _ in range(count)]
        self.planes += planes
        return planes

    def read(self, planes: Sequence[Plane], moment: int | None = None) -> None:
        """Note that ``planes`` are needed now, or at ``moment``."""
        moment = self.moment if moment is None else moment
        for plane in planes:
            plane.last = max(plane.last, moment)

    def lay_out(self) -> int:
        """Find a place for everything; how many numbers the arena has."""
        give_slots(self.planes)
        times = {shelf: [FOREVER, 0] for shelf in self.shelves.values()}
        for plane in self.planes:
            begin, end = times[plane.shelf]
            times[plane.shelf] = [min(begin, plane.first), max(end, plane.last)]
        placed: list[tuple[int, int, Shelf]] = []
        for shelf, (begin, end) in times.items():
            size = -(-self.images * shelf.image // LINE) * LINE
            for start, stop, other in sorted(placed, key=lambda each: each[0]):
                is_needed = times[other][0] <= end and begin <= times[other][1]
                if is_needed and start < shelf.start + size and shelf.start < stop:
                    shelf.start = stop
            placed.append((shelf.start, shelf.start + size, shelf))
        return max((stop for _, stop, _ in placed), default=0)


def external_planes(channels: int, height: int, width: int) -> list[Plane]:
    """The planes of the network's input."""
    shelf = Shelf(height, width, slots=channels, external=True)
    return [Plane(shelf, 0, FOREVER, channel) for channel in range(channels)]


def zeros(size: int, dtype) -> np.ndarray:
    """``size`` zeros that begin at a cache line: vectors at multiples of a line then lie in one."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * itemsize].view(dtype)


def give_slots(planes: list[Plane]) -> None:
    """Find a slot for each plane; planes whose times overlap never share one.

    A plane that is read for the last time at a moment keeps its slot until those computed at the
    same moment have theirs: no step writes over what it reads.
    """
    starting: dict[int, list[Plane]] = {}
    ending: dict[int, list[Plane]] = {}
    for plane in planes:
        starting.setdefault(plane.first, []).append(plane)
        ending.setdefault(plane.last, []).append(plane)
    for moment in sorted(starting | ending):
        for plane in starting.get(moment, ()):
            plane.slot = plane.shelf.take()
        for plane in ending.get(moment, ()):
            heappush(plane.shelf.free, plane.slot)


def slots_of(planes: Sequence[Plane]) -> slice | np.ndarray:
    """The numbers of their slots, as an index."""
    numbers = np.array([plane.slot for plane in planes])
    if (np.diff(numbers) == 1).all():
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


def read(arena: np.ndarray, shelf: Shelf, slots: slice | np.ndarray, images: int) -> np.ndarray:
    """A map as an array (N, C, H, W)."""
    return _slots(arena, shelf, images)[:, slots]


def write(arena: np.ndarray, shelf: Shelf, slots: slice | np.ndarray, array: np.ndarray) -> None:
    """Put an array (N, C, H, W), or (N, C), where its planes lie."""
    planes = _slots(arena, shelf, len(array))
    planes[:, slots] = array.reshape(len(array), -1, shelf.height, shelf.width)


def _slots(arena: np.ndarray, shelf: Shelf, images: int) -> np.ndarray:
    """All planes of a shelf as a view (N, slots, H, W) into the arena."""
    all_slots = arena[shelf.start :][: images * shelf.image]
    planes = all_slots.reshape(images, shelf.slots, shelf.size)
    pixels = planes[:, :, : shelf.height * shelf.width]
    return pixels.reshape(images, shelf.slots, shelf.height, shelf.width)
