"""Saves pictures until it is killed, telling the id of each one that is kept.

`python saver.py DATA_DIR` goes on for ever, `python saver.py DATA_DIR N` kills itself at the N-th
touch of the disk of the second save and ends with 0 if there are fewer.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.gallery.store import Gallery
from tests.gallery.faults import Faults, injected, watched_databases
from tests.gallery.painted import painted


def main() -> None:
    with watched_databases():
        gallery = Gallery(Path(sys.argv[1]))
        print(painted(gallery, seed=0).id, flush=True)
        if len(sys.argv) > 2:
            with injected(Faults(at=int(sys.argv[2]), kill=True)):
                record = painted(gallery, seed=1)
            print(record.id, flush=True)
            return
        seed = 0
        while True:
            seed += 1
            print(painted(gallery, seed=seed, side=64).id, flush=True)


main()
