#!/usr/bin/env python3
"""Renders what a program printed to a terminal, colors included, as an SVG picture.

    kiln --color always plan | scripts/ansi-to-svg.py '$ kiln plan' >docs/img/plan.svg

The argument is the first line of the picture. Knows the escapes that kiln prints: bold, dim and eight colors.
"""

import re
import sys
from xml.sax.saxutils import escape

COLORS = {"31": "#f7768e", "32": "#9ece6a", "33": "#e0af68", "34": "#7aa2f7", "35": "#bb9af7", "36": "#7dcfff"}
CELL, LINE, PAD = 7.8, 19, 14


def spans(line):
    """The parts of a line, each with the style that it has."""
    style = {}
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not part.startswith("\x1b"):
            if part:
                yield part, dict(style)
            continue
        for code in part[2:-1].split(";"):
            if code in ("", "0"):
                style = {}
            elif code == "1":
                style["font-weight"] = "bold"
            elif code == "2":
                style["fill-opacity"] = "0.6"
            elif code in ("22", "39"):
                for name in ("font-weight", "fill-opacity") if code == "22" else ("fill",):
                    style.pop(name, None)
            elif code in COLORS:
                style["fill"] = COLORS[code]


def main():
    lines = [f"\x1b[1m{first}\x1b[0m" for first in sys.argv[1:2]] + sys.stdin.read().rstrip("\n").split("\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = max(map(len, plain)) * CELL + 2 * PAD
    height = len(lines) * LINE + 2 * PAD
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}">')
    print('<rect width="100%" height="100%" rx="8" fill="#1a1b26"/>')
    print('<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#c0caf5">')
    for number, line in enumerate(lines):
        x, y = 0, PAD + (number + 0.75) * LINE
        for text, style in spans(line):
            attrs = "".join(f' {name}="{value}"' for name, value in style.items())
            # The length is said, so that columns stay columns in whatever font there is.
            print(
                f'<text x="{PAD + x * CELL:.1f}" y="{y:.1f}" textLength="{len(text) * CELL:.1f}"'
                f' xml:space="preserve"{attrs}>{escape(text)}</text>'
            )
            x += len(text)
    print("</g>\n</svg>")


main()
