"""A flame graph as a still picture: ``python -m benchmarks.flame TITLE < stacks > picture.svg``.

What goes in is what ``py-spy record --format raw`` writes: a stack from the outside in, its frames parted by
semicolons, a blank and the number of samples. A frame is as wide as its share; the innermost stand on top; a pointer
that rests on one shows its name and share. No script is in the picture, so it can be shown wherever pictures can.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from html import escape
from zlib import crc32

import attrs

__all__ = ["draw", "gather"]

WIDTH, ROW, LETTER = 1_200, 17, 6.6
# What would be narrower than a line cannot be seen.
NARROWEST = 0.0015


@attrs.define
class Frame:
    """A function where it was called from: how many samples saw it on the stack, and what it called."""

    samples: int = 0
    called: dict[str, Frame] = attrs.field(factory=dict)

    def depth(self, least: int) -> int:
        """How high what stands on it goes, but for what has fewer samples than that."""
        return 1 + max((frame.depth(least) for frame in self.called.values() if frame.samples >= least), default=0)


def gather(lines: Iterable[str], *, below: str = "", without: str = "") -> Frame:
    """Put stacks together.

    Args:
        lines: the stacks.
        below: frames outside of the first one of this function are left out.
        without: stacks with this text in them are left out: a thread that sleeps, which py-spy took for awake.
    """
    root = Frame()
    for line in lines:
        stack, _, samples = line.strip().rpartition(" ")
        if not stack or (without and without in stack):
            continue
        names = [re.sub(r":\d+\)$", ")", name) for name in stack.split(";")]
        start = next((index for index, name in enumerate(names) if below and name.startswith(below)), 0)
        root.samples += int(samples)
        frame = root
        for name in names[start:]:
            frame = frame.called.setdefault(name, Frame())
            frame.samples += int(samples)
    return root


def draw(root: Frame, title: str) -> str:
    """The picture of it."""
    least = max(1, round(root.samples * NARROWEST))
    height = ROW * (root.depth(least) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/><text x="4" y="13">{escape(title)}</text>',
    ]

    def stand(frame: Frame, name: str, left: float, row: int) -> None:
        width = WIDTH * frame.samples / root.samples
        top = height - ROW * (row + 1)
        share = f"{100 * frame.samples / root.samples:.1f} %"
        # Warm colours; a function has the same one wherever it stands.
        shade = crc32(name.encode())
        colour = f"hsl({shade % 45 + 8},{70 + shade % 20}%,{62 + shade % 14}%)"
        short = name.partition(" (")[0].rpartition(".<locals>.")[2]
        letters = int((width - 4) / LETTER)
        place = f'x="{left:.1f}" y="{top}" width="{max(width - 0.4, 0.4):.1f}" height="{ROW - 1}"'
        parts.append(f'<g><title>{escape(name)}: {share}</title><rect {place} fill="{colour}"/>')
        if letters >= 3:
            text = short if len(short) <= letters else f"{short[: letters - 1]}…"
            parts.append(f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(text)}</text>')
        parts.append("</g>")
        for inner, called in sorted(frame.called.items()):
            if called.samples >= least:
                stand(called, inner, left, row + 1)
            left += WIDTH * called.samples / root.samples

    stand(root, "all", 0.0, 0)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(draw(gather(sys.stdin, below="unrolled_run", without="Lookout._watch"), sys.argv[1]))
