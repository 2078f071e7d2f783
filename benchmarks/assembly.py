"""Reading assembly: the innermost loops of a program, and what stands in them.

For x86-64 as LLVM writes it (AT&T's way) and AArch64.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

LABEL = re.compile(r'("[^"]*"|[\w.$]+):')
JUMP = re.compile(r"(?:j\w+|b|b\.\w+|cbn?z|tbn?z)\t.*?(\.L\w+)$")
LEAVES = re.compile(r"(?:jmpq?|b|retq?|br|ud2|brk)\b(?!\.)")  # never goes on to the next line
MULTIPLY_ADD = re.compile(r"(?:vfn?m(?:add|sub)\d+p[sd]|fml[as])\t")
VECTOR = re.compile(r"%[xyz]mm|\b[qv]\d")
STACK = re.compile(r"\[sp\b|\(%rsp\)")


@dataclass
class Block:
    """Instructions that follow each other, and the names of the blocks that may come next."""

    function: str
    lines: list[str] = field(default_factory=list)
    followers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Loop:
    """An innermost loop: of which function, and its instructions."""

    function: str
    lines: tuple[str, ...]

    def count(self, *patterns: re.Pattern) -> int:
        """How many instructions all these patterns are found in."""
        return sum(all(pattern.search(line) for pattern in patterns) for line in self.lines)

    @property
    def multiply_adds(self) -> int:
        return self.count(MULTIPLY_ADD)

    @property
    def spills(self) -> int:
        """Vectors that are put on the stack or fetched from there, for want of registers."""
        return self.count(STACK, VECTOR)

    @property
    def jumps(self) -> int:
        return self.count(JUMP)


def blocks_of(assembly: str) -> dict[str, Block]:
    """By name, in the order of the text."""
    blocks: dict[str, Block] = {}
    block = None
    for line in assembly.splitlines():
        label = LABEL.match(line)
        if label:
            name = label.group(1)
            function = block.function if name.startswith(".L") and block else name
            following = Block(function)
            if block and name.startswith(".L"):
                block.followers.append(name)
            blocks[name] = block = following
        elif block and line.startswith("\t") and not line.startswith("\t."):
            block.lines.append(line.strip())
            jump, leaves = JUMP.match(block.lines[-1]), LEAVES.match(block.lines[-1])
            if jump:
                block.followers.append(jump.group(1))
            if jump or leaves:
                name = f"after {len(blocks)}"
                if not leaves:
                    block.followers.append(name)
                blocks[name] = block = Block(block.function)
    return blocks


def loops_of(assembly: str) -> list[Loop]:
    """The innermost loops of all functions, in the order of the text."""
    blocks = blocks_of(assembly)
    before = defaultdict(list)
    for name, block in blocks.items():
        for follower in block.followers:
            before[follower].append(name)
    bodies: dict[str, set[str]] = {}
    for last, first in jumps_back(blocks):
        body, waiting = bodies.setdefault(first, {first}), [last]
        while waiting:
            name = waiting.pop()
            if name not in body:
                body.add(name)
                waiting += before[name]
    return [
        Loop(blocks[first].function, tuple(line for name in blocks if name in body
                                           for line in blocks[name].lines))
        for first, body in bodies.items()
        if not any(other in body for other in bodies if other != first)
    ]  # fmt: skip


def jumps_back(blocks: dict[str, Block]) -> list[tuple[str, str]]:
    """(from, to) where a way through a function meets a block it has come from: (last, first) of a
    loop, since LLVM enters loops at one place only."""
    found, done, on_the_way = [], set(), set()
    for start in blocks:
        if start in done:
            continue
        way = [(start, iter(blocks[start].followers))]
        on_the_way.add(start)
        while way:
            name, followers = way[-1]
            for follower in followers:
                if follower in on_the_way:
                    found.append((name, follower))
                elif follower in blocks and follower not in done:
                    on_the_way.add(follower)
                    way.append((follower, iter(blocks[follower].followers)))
                    break
            else:
                way.pop()
                on_the_way.discard(name)
                done.add(name)
    return found
