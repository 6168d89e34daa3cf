"""How the gallery's times grow with its size: milliseconds at 1,000 and 20,000 pictures.

Run it: `python tests/bench/bench_gallery.py [folder]`. Rows are written straight into the database
with one tiny file each, so that filling takes seconds; opening, repairing and listing are real.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.core import intake, png
from studio.core.records import Picture, new_id
from studio.gallery.search import searchable
from studio.gallery.store import Gallery, Query, _mend_words

SIZES = (1_000, 20_000)
WORDS = ("fox", "snow", "castle", "lighthouse", "dusk", "sticker", "forest", "river", "robot")
RARE_EVERY = 500


def fill(gallery: Gallery, data_dir: Path, count: int) -> None:
    """Rows as `add` writes them, without encoding and fsyncing 20,000 times."""
    chance = random.Random(count)
    folder = data_dir / "pictures" / "2026-01"
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    for number in range(1, count + 1):
        prompt = " ".join(chance.choices(WORDS, k=20)) + (
            " zeppelin" if number % RARE_EVERY == 0 else ""
        )
        name = f"20260101-000000-{number:06}.png"
        (folder / name).write_bytes(b"")
        request = f'{{"prompt": "{prompt}", "checkpoint": "c{number % 5}", "seed": {number}}}'
        rows.append(
            {
                "id": new_id(), "owner": "local", "job": new_id(), "position": 0,
                "task": "txt2img", "checkpoint": f"c{number % 5}", "seed": str(number),
                "width": 512, "height": 512, "request": request,
                "infotext": prompt + "\nSteps: 20, Sampler: Euler", "facts": "{}", "parents": "[]",
                "words": searchable(prompt), "file": f"pictures/2026-01/{name}",
                "created": 1.7e9 + number, "starred": int(number % RARE_EVERY == 1),
            }
        )  # fmt: skip
    columns = list(rows[0])
    with gallery._db.write() as db:
        db.executemany(
            f"INSERT INTO pictures ({', '.join(columns)})"
            f" VALUES ({', '.join(':' + column for column in columns)})",
            rows,
        )


def ms(work: Callable[[], object], rounds: int = 15) -> float:
    """Median time of a call."""
    times: list[float] = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def picture(side: int) -> Picture:
    """A picture as hard to compress as a generated one: gradients with a little noise."""
    chance = random.Random(side)
    noise = bytes(chance.choices(range(6), k=side * 3))
    rows = [
        bytes((x // 3 * 200 // side + y * 40 // side + noise[(x * 7 + y * 13) % len(noise)]) % 256
              for x in range(side * 3))
        for y in range(side)
    ]  # fmt: skip
    return Picture(index=0, seed=1, width=side, height=side, pixels=b"".join(rows))


def listings(gallery: Gallery) -> dict[str, Callable[[], object]]:
    def middle() -> str:
        return str(gallery._db.read("SELECT MAX(seq) / 2 AS half FROM pictures")[0]["half"])

    half = middle()
    queries = {
        "first page": Query(),
        "page in the middle": Query(cursor=half),
        "search, common word": Query(text="fox"),
        "search, rare word": Query(text="zeppel"),
        "search, two words": Query(text="castle robot"),
        "search, one letter": Query(text="f"),
        "checkpoint": Query(checkpoint="c3"),
        "starred": Query(starred=True),
        "older than the first tenth": Query(until=1.7e9 + int(half) / 5),
        "trash (empty)": Query(trashed=True),
    }
    return {
        label: (lambda query=query: gallery.records("local", query))
        for label, query in queries.items()
    }


def measure(root: Path, count: int) -> dict[str, float]:
    data_dir = root / str(count)
    gallery = Gallery(data_dir)
    fill(gallery, data_dir, count)
    times = {label: ms(work) for label, work in listings(gallery).items()}
    times["repair"] = ms(gallery.repair, rounds=5)
    times["word index check"] = ms(lambda: _mend_words(gallery._db), rounds=5)
    times["integrity check"] = ms(gallery._db.integrity, rounds=5)
    gallery.close()

    def reopen() -> None:
        Gallery(data_dir).close()

    times["open"] = ms(reopen, rounds=5)
    gallery = Gallery(data_dir)
    for side in (128, 512, 1024):
        painted = picture(side)

        def add(painted: Picture = painted) -> str:
            return gallery.add("local", new_id(), "txt2img", {"prompt": "x"}, painted, "x").id

        times[f"add {side}²"] = ms(add)
        path = gallery.file("local", add())
        times[f"  of it encoding {side}²"] = ms(lambda painted=painted: png.encode(painted, {}))
        times[f"  of it reading back {side}²"] = ms(lambda path=path: png.read(path))
        times[f"  (full decode instead {side}²)"] = ms(lambda path=path: intake.load(path))
        made = [add() for _ in range(5)]
        times[f"thumbnail {side}²"] = ms(lambda made=made: gallery.thumb("local", made.pop()), 5)
    gallery.close()
    return times


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        few, many = (measure(Path(folder), count) for count in SIZES)
    print(f"{'milliseconds (median)':36}{SIZES[0]:>10,}{SIZES[1]:>10,}{'ratio':>9}")
    for label, time_few in few.items():
        print(f"{label:36}{time_few:>10.2f}{many[label]:>10.2f}{many[label] / time_few:>8.1f}×")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
