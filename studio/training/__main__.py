"""`python -m studio.training STAGE`: train the built-in model."""

import argparse
import logging
import os
from pathlib import Path

STAGES = (
    "data",
    "resume",
    "autoencoder",
    "text",
    "unet",
    "control",
    "tracing",
    "listening",
    "decoder",
    "samples",
    "judges",
    "stylist",
    "evaluate",
    "export",
)


def run(
    stage: str,
    folder: Path,
    minutes: float,
    shard_count: int,
    target: Path,
    *,
    first: bool,
    truth: bool,
    people: float | None,
    compiled: bool,
    limit: int | None = None,
    compared: tuple[Path, Path] | None = None,
) -> None:
    """Run one stage; each goes on from what lies in `folder`."""
    if stage == "data":
        from studio.training import compose, concepts, shards, sources

        if not (folder / "concepts.json").exists():
            sources.build(folder, only=concepts.FIRST if first else ())
        share = compose.PEOPLE_SHARE if people is None else people
        shards.build(folder, shard_count, truth=truth, people=share)
        return
    import torch

    # As many as the process may use: `taskset` leaves the other cores to somebody else.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if stage == "resume":
        from studio.training import resume

        resume.resume(folder, target)
    elif stage == "autoencoder":
        from studio.training import autoencoder

        autoencoder.train(folder, minutes)
    elif stage == "decoder":
        from studio.training import autoencoder

        autoencoder.polish(folder, minutes)
    elif stage == "text":
        from studio.training import text

        text.train(folder, minutes)
    elif stage == "unet":
        from studio.training import unet

        unet.train(folder, minutes, compiled=compiled)
    elif stage == "control":
        from studio.training import control

        control.train(folder, minutes, compiled=compiled)
    elif stage == "tracing":
        from studio.training import tracing

        tracing.train(folder, minutes)
    elif stage == "listening":
        from studio.training import listening

        listening.train(folder, minutes)
    elif stage == "samples":
        from studio.training import samples

        samples.sheet(folder, folder / "samples.png")
    elif stage == "judges":
        from studio.training import judges

        judges.train(folder, target, minutes)
    elif stage == "stylist":
        from studio.training import stylist

        stylist.train(folder, target, minutes)
    elif stage == "evaluate":
        from studio.training import evaluate

        if compared:
            evaluate.compare(*compared, folder, limit)
        else:
            evaluate.evaluate(target, folder, limit)
    elif stage == "export":
        from studio.training import control, export

        pipe = export.export(folder, target)
        control.export(folder, target.with_name(f"{target.name}-control"), pipe)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studio.training", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--data", type=Path, required=True, help="folder for data and checkpoints")
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="budget of a training stage in all"
    )
    parser.add_argument(
        "--shards", type=int, default=20, help="thousands of pictures, about twice that"
    )
    parser.add_argument(
        "--target", type=Path, default=Path("assets/builtin"), help="the exported model"
    )
    parser.add_argument(
        "--first", action="store_true", help="data: only the things that are learnt first"
    )
    parser.add_argument(
        "--truth", action="store_true", help="data: also depth and poses, which `control` needs"
    )
    parser.add_argument("--people", type=float, help="data: share of pictures that show people")
    parser.add_argument(
        "--compile", action="store_true", help="unet, control: compile the nets first"
    )
    parser.add_argument(
        "--limit", type=int, help="evaluate: about so many prompts, for a quick look"
    )
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar="EXPORT", help="evaluate: two exports side by side"
    )
    chosen = parser.parse_args()
    chosen.data.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    run(
        chosen.stage,
        chosen.data,
        chosen.minutes,
        chosen.shards,
        chosen.target,
        first=chosen.first,
        truth=chosen.truth,
        people=chosen.people,
        compiled=chosen.compile,
        limit=chosen.limit,
        compared=chosen.compare,
    )


if __name__ == "__main__":
    main()
