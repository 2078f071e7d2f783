"""Polygons around the pixels of a mask, as labelling tools want them.

The sides of pixels that part inside from outside are walked along, the inside to the right: so each
piece of an object is gone round once, clockwise as one looks at the picture. What a walk along
pixels shows of a slanted edge are stairs; points without which the line stays where it is, to a
pixel, are left out (Douglas and Peucker, "Algorithms for the reduction of the number of points",
1973).
"""

from __future__ import annotations

import numpy as np

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up: x, y
TOLERANCE = 1.0  # pixels


def polygons(mask: np.ndarray, tolerance: float = TOLERANCE) -> list[np.ndarray]:
    """The outlines of a mask's pieces, the largest first. Pixels that meet at a corner only are of
    two pieces. Holes are filled: a list of polygons, which COCO takes for their union, has none.

    Args:
        mask: (H, W) bool.
        tolerance: so many pixels a point that is left out is away from the line, at most.

    Returns:
        (P, 2) float64 corners x, y each, in pixels, P >= 3.
    """
    outlines = [points for points in walks(mask) if signed_area(points) > 0]
    outlines.sort(key=signed_area, reverse=True)
    simple = [simplified(points, tolerance) for points in outlines]
    # What is hardly wider than the tolerance would be a line.
    return [few if len(few) > 2 else points for few, points in zip(simple, outlines, strict=True)]


def walks(mask: np.ndarray) -> list[np.ndarray]:
    """Every border of a mask, round pieces and round holes, as (P, 2) corners where it turns."""
    inside = np.pad(np.asarray(mask, bool), 1)
    core = inside[1:-1, 1:-1]
    # Where a side of a pixel begins (from its upper left corner) whose neighbour is outside.
    neighbours = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])
    begins = ((0, 0), (1, 0), (1, 1), (0, 1))
    sides: dict[tuple[int, int], set[int]] = {}
    for direction, (neighbour, begin) in enumerate(zip(neighbours, begins, strict=True)):
        for x, y in (np.argwhere(core & ~neighbour)[:, ::-1] + begin).tolist():
            sides.setdefault((x, y), set()).add(direction)
    # The first side that is left goes along the top of a piece, from its corner on: what comes
    # before it in its walk is no top side, or it would have been left too. Two may begin there.
    return [walk(sides, start) for start in list(sides) for _ in range(2) if start in sides]


def walk(sides: dict[tuple[int, int], set[int]], start: tuple[int, int]) -> np.ndarray:
    """One border, from a corner of it round to the same; it is taken out of ``sides``."""
    place, points, before = start, [], -1
    while True:
        ways = sides[place]
        # Where two walks meet, the turn to the right stays with the same pixel.
        way = (before + 1) % 4 if (before + 1) % 4 in ways else next(iter(ways))
        ways.remove(way)
        if not ways:
            del sides[place]
        if way != before:
            points.append(place)
        place, before = (place[0] + STEPS[way][0], place[1] + STEPS[way][1]), way
        if place == start and (way + 1) % 4 not in sides.get(place, ()):
            return np.array(points, np.float64)


def signed_area(points: np.ndarray) -> float:
    """Of a polygon (P, 2), positive if it goes clockwise (y points down): the shoelace formula."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def simplified(points: np.ndarray, tolerance: float) -> np.ndarray:
    """A closed polygon (P, 2) without the points that its line can do without."""
    far = int(np.linalg.norm(points - points[0], axis=1).argmax())
    ring = np.concatenate([points, points[:1]])
    keep = np.zeros(len(ring), bool)
    parts = [(0, far), (far, len(points))]
    while parts:
        first, last = parts.pop()
        keep[first] = True
        away = distances(ring[first + 1 : last], ring[first], ring[last])
        if len(away) and away.max() > tolerance:
            middle = first + 1 + int(away.argmax())
            parts += [(first, middle), (middle, last)]
    return points[keep[:-1]]


def distances(points: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far (P, 2) points are from the line from ``begin`` to ``end``."""
    along = end - begin
    length = np.linalg.norm(along)
    if length == 0:
        return np.linalg.norm(points - begin, axis=1)
    across = points - begin
    return np.abs(along[0] * across[:, 1] - along[1] * across[:, 0]) / length
