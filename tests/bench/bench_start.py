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
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import psutil

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


@dataclass(frozen=True, slots=True)
class Took:
    """One start until the page answered."""

    wall_s: float
    cpu_s: float
    """Of the process that answered; what else the machine does tells less in it."""


def main(rounds: int = 7) -> None:
    with tempfile.TemporaryDirectory() as folder:
        took = [(hello_world(), studio(Path(folder) / "data")) for _ in range(rounds + 1)][1:]
    tell({"start": figures(took)}, as_json())


def figures(took: list[tuple[Took, Took]]) -> dict[str, float]:
    """Medians, and the medians of the ratios of the two in a round; at most 1.30 is wanted."""
    return {
        "hello_world_s": median(hello.wall_s for hello, _ in took),
        "studio_s": median(ours.wall_s for _, ours in took),
        "studio_worst_s": max(ours.wall_s for _, ours in took),
        "ratio_to_hello_world": median(ours.wall_s / hello.wall_s for hello, ours in took),
        "hello_world_cpu_s": median(hello.cpu_s for hello, _ in took),
        "studio_cpu_s": median(ours.cpu_s for _, ours in took),
        "cpu_ratio_to_hello_world": median(ours.cpu_s / hello.cpu_s for hello, ours in took),
    }


def hello_world() -> Took:
    port = free_port()
    return until_page([sys.executable, "-c", HELLO, str(port)], port)


def studio(data_dir: Path) -> Took:
    port = free_port()
    flags = ["--no-open", "--port", str(port), "--data-dir", str(data_dir)]
    return until_page([sys.executable, "-P", "-m", "studio.cli", "serve", *flags], port)


def until_page(command: list[str], port: int) -> Took:
    """From the start of the process to a whole page; the process is ended again."""
    # neither may call home, or the network would be measured; and both find their bytecode
    env = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONPATH": str(ROOT)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
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
                        times = psutil.Process(process.pid).cpu_times()
                        return Took(time.perf_counter() - begun, times.user + times.system)
                time.sleep(0.02)
            raise RuntimeError("the page did not come")
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] if word.isdigit()))
