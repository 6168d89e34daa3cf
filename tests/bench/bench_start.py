"""How long until the page answers, beside a bare Gradio hello-world.

    python -m tests.bench.bench_start [ROUNDS] [--json]

Each round starts both in processes of their own, one after the other, and waits for 200 from /. The
first round is thrown away: it warms the disk's cache for both alike.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from tests.bench.fixtures import as_json, tell
from tests.serving import ROOT, free_port

HELLO = """
import sys
import gradio as gr

with gr.Blocks() as page:
    gr.Markdown("hello world")
page.launch(server_port=int(sys.argv[1]), quiet=True)
"""
STARTS_S = 60.0


def main(rounds: int = 7) -> None:
    took: dict[str, list[float]] = {"hello-world": [], "studio": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            seconds = {"hello-world": hello_world(), "studio": studio(Path(folder) / "data")}
            if number:
                for name, value in seconds.items():
                    took[name].append(value)
    tell({"start": figures(took)}, as_json())


def figures(took: dict[str, list[float]]) -> dict[str, float]:
    """Medians, and the median of the ratios of the two in a round; at most 1.30 is wanted."""
    pairs = zip(took["hello-world"], took["studio"], strict=True)
    return {
        "hello_world_s": median(took["hello-world"]),
        "studio_s": median(took["studio"]),
        "studio_worst_s": max(took["studio"]),
        "ratio_to_hello_world": median(studio / hello for hello, studio in pairs),
    }


def hello_world() -> float:
    port = free_port()
    return until_page([sys.executable, "-c", HELLO, str(port)], port)


def studio(data_dir: Path) -> float:
    port = free_port()
    flags = ["--no-open", "--port", str(port), "--data-dir", str(data_dir)]
    return until_page([sys.executable, "-P", "-m", "studio.cli", "serve", *flags], port)


def until_page(command: list[str], port: int) -> float:
    """Seconds from the start of the process to a whole page; the process is ended again."""
    # neither may call home, or the network would be measured
    env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while time.perf_counter() - begun < STARTS_S:
                if process.poll() is not None:
                    raise RuntimeError(process.stderr.read() if process.stderr else "it ended")
                with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                    if page.status == 200 and page.read():
                        return time.perf_counter() - begun
                time.sleep(0.02)
            raise RuntimeError("the page did not come")
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] if word.isdigit()))
