"""What comes, changes or goes in a folder is noticed, once it has come to rest."""

import threading
import time
from pathlib import Path

from studio.checkpoints.watch import Watch


def test_a_new_file_is_told_once_it_is_whole(tmp_path: Path) -> None:
    told = threading.Event()
    watch = Watch((tmp_path,), told.set, every_s=0.05)
    watch.start()
    try:
        time.sleep(0.1)
        with (tmp_path / "a.safetensors").open("wb") as file:
            for _ in range(6):
                file.write(b"x" * 100)
                file.flush()
                assert not told.is_set()
                time.sleep(0.03)
        assert told.wait(20)
        told.clear()
        (tmp_path / "a.safetensors").unlink()
        assert told.wait(20)
    finally:
        watch.close()
