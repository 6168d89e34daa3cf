"""What a person feels: first picture, a picture after, the page while painting, memory.

    python -m tests.bench.bench_studio [CHECKPOINT]

Starts the real studio on a fresh data folder, with the built-in checkpoint unless another is named.
Prints seconds, milliseconds (median and p95) and ratios busy / idle.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil

from tests.serving import Server, until_over

PAGES = ("/", "/api/live", "/api/choices", "/api/images")
ROUNDS = 40


def main(checkpoint: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = time.perf_counter()
        with Server(Path(folder) / "data") as server, server.client() as client:
            print(f"server answers            {time.perf_counter() - asked:7.2f} s")
            body = {"task": "txt2img", "prompt": "a red fox in the snow, sticker", "seed": 1}
            if checkpoint:
                body["checkpoint"] = checkpoint
            first = painted(client, body)
            print(f"first picture since start {time.perf_counter() - asked:7.2f} s")
            print(f"  of it, its job          {first['ended'] - first['started']:7.2f} s")
            four = painted(client, {**body, "count": 4})
            print(f"a picture, warm, of four  {(four['ended'] - four['started']) / 4:7.2f} s")

            idle = {page: latencies(client, page) for page in PAGES}
            long = client.post("/api/jobs", json={**body, "count": 32, "steps": 50}).json()["id"]
            time.sleep(1.0)
            print("\npage            idle median   p95    busy median   p95    p95 busy/idle")
            for page in PAGES:
                busy = latencies(client, page)
                print(
                    f"{page:15s} {median(idle[page]):10.1f} {p95(idle[page]):7.1f}"
                    f" {median(busy):12.1f} {p95(busy):7.1f} {p95(busy) / p95(idle[page]):11.1f} ×"
                )
            client.delete(f"/api/jobs/{long}")
            until_over(client, long)
            print("\npeak memory, MB:")
            for name, pid in processes(server.process.pid):
                print(f"  {name:22s} {peak_mb(pid):7.0f}")


def painted(client: httpx.Client, body: dict[str, object]) -> dict[str, float]:
    job = client.post("/api/jobs", json=body).json()
    over = until_over(client, job["id"], seconds=300)
    assert over["state"] == "finished", over["error"]
    return over


def latencies(client: httpx.Client, page: str) -> list[float]:
    """Milliseconds of `ROUNDS` requests."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        client.get(page).raise_for_status()
        taken.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.05)
    return taken


def p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


def processes(pid: int) -> list[tuple[str, int]]:
    children = psutil.Process(pid).children(recursive=True)
    return [("web process", pid), *(("engine process", child.pid) for child in children)]


def peak_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:2])
