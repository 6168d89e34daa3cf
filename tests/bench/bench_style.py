"""What the stylizers do to photographs: kept of the content, taken of the style, and how long.

    python tests/bench/bench_style.py [--sheet FILE]

prints a table, and with `--sheet` draws the contact sheet of the README.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.stylizers._stylizer import Style, Stylizer
from tests.pictures import photograph
from tests.stylizers.test_every import ENTRIES, edges, example, texture

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
STYLES = ("night", "glass", "woodcut", "watercolour", "autumn")
SIDE_PX = 512
CELL_PX, GAP_PX, STRIP_PX = 168, 5, 84
PAPER = "#f4f2ee"


def square(image: Image.Image, side: int) -> Image.Image:
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    part = image.crop((left, top, left + short, top + short))
    return part.resize((side, side), Image.Resampling.LANCZOS)


def restyled(entry: Stylizer, image: Image.Image, style: Image.Image) -> Image.Image:
    assert entry.run is not None
    return entry.run(image, (Style(style, 1.0),), 1.0, entry.params())


def table() -> None:
    """`content` is the correlation of edges with the photograph's, 1.0 all of them; `style` how far
    the statistics of colours and strokes still are from the style's, where the photograph's are at
    1.0."""
    print(f"{'method':10}{'photograph':12}{'style':14}{'content':>8}{'style':>8}{'s/MP':>8}")
    for entry in ENTRIES.values():
        rows: list[tuple[float, float, float]] = []
        for name in PHOTOGRAPHS:
            image = square(photograph(name), SIDE_PX)
            for look in STYLES:
                style = example(look)
                began = time.process_time()
                made = restyled(entry, image, style)
                seconds = (time.process_time() - began) / (SIDE_PX * SIDE_PX / 1e6)
                kept = float(np.corrcoef(edges(made), edges(image))[0, 1])
                wanted = texture(style)
                before = np.abs(texture(image) - wanted).mean()
                left = float(np.abs(texture(made) - wanted).mean() / before)
                rows.append((kept, left, seconds))
                print(f"{entry.id:10}{name:12}{look:14}{kept:8.2f}{left:8.2f}{seconds:8.2f}")
        kept, left, seconds = np.mean(rows, axis=0)
        print(f"{entry.id:10}{'all':12}{'all':14}{kept:8.2f}{left:8.2f}{seconds:8.2f}\n")


def sheet(file: Path) -> None:
    """Styles across, photographs down."""
    width = GAP_PX + (len(STYLES) + 1) * (CELL_PX + GAP_PX)
    height = STRIP_PX + 2 * GAP_PX + len(PHOTOGRAPHS) * (CELL_PX + GAP_PX)
    drawn = Image.new("RGB", (width, height), PAPER)
    for column, look in enumerate(STYLES, 1):
        style = square(example(look), CELL_PX).crop((0, 0, CELL_PX, STRIP_PX))
        drawn.paste(style, (GAP_PX + column * (CELL_PX + GAP_PX), GAP_PX))
    for row, name in enumerate(PHOTOGRAPHS):
        image = square(photograph(name), SIDE_PX)
        cells = [image, *(restyled(ENTRIES["neural"], image, example(look)) for look in STYLES)]
        for column, cell in enumerate(cells):
            place = (
                GAP_PX + column * (CELL_PX + GAP_PX),
                STRIP_PX + 2 * GAP_PX + row * (CELL_PX + GAP_PX),
            )
            drawn.paste(cell.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS), place)
    drawn.save(file, quality=76, method=6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="where to draw the contact sheet")
    asked = parser.parse_args()
    table()
    if asked.sheet:
        sheet(asked.sheet)
