"""Formulas as pictures that need nothing from the network: LaTeX in, inline SVG out.

Glyphs become outlines of STIX Two Math (by ``ziamath``) in the colour of the text around them, and
sit on its baseline. The LaTeX itself is what a screen reader hears.
"""

from __future__ import annotations

import functools
import html
import re

import ziamath

UNITS_PER_EM = 17.0
VIEW_BOX = re.compile(r'<svg [^>]*viewBox="([^"]+)"[^>]*>')

# Where ziamath leaves too much space, or too little: around a sign, nabla and mod.
SPACING = {
    re.compile(r"(^|[=(\[,<>])\s*-"): r"\1{-}",
    re.compile(r"\\nabla(?![a-zA-Z])"): r"{\\nabla}",
    re.compile(r"\\bmod\b"): r"\\;\\mathrm{mod}\\;",
}

# Plain paths, no symbols with ids that would clash between the formulas of a page.
ziamath.config.svg2 = False


@functools.cache
def formula(latex: str, display: bool = False) -> str:
    """An ``<svg>`` element.

    Raises:
        ValueError: naming the formula, when it cannot be set.
    """
    spaced = latex
    for pattern, replacement in SPACING.items():
        spaced = pattern.sub(replacement, spaced)
    try:
        math = ziamath.Latex(spaced, UNITS_PER_EM, color="currentColor", inline=not display)
        svg = math.svg()
    except Exception as error:
        raise ValueError(f"the formula ${latex}$ cannot be set: {error!r}") from error
    opening = VIEW_BOX.match(svg)
    _, top, width, height = (float(side) for side in opening[1].split())
    # The baseline is at y = 0: what lies under it hangs below the line.
    sizes = {"width": width, "height": height, "vertical-align": -(top + height)}
    style = ";".join(f"{name}:{size / UNITS_PER_EM:.3f}em" for name, size in sizes.items())
    label = f'role="img" aria-label="{html.escape(latex)}"'
    return (
        f'<svg class="formula" {label} viewBox="{opening[1]}" style="{style}">'
        + svg[opening.end() :]
    )
