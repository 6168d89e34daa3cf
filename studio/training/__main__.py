"""`python -m studio.training STAGE`: train the built-in model."""

import argparse
import logging
from pathlib import Path

STAGES = (
    "data",
    "resume",
    "autoencoder",
    "text",
    "unet",
    "decoder",
    "samples",
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
    compiled: bool,
) -> None:
    """Run one stage; each goes on from what lies in `folder`."""
    if stage == "data":
        from studio.training import concepts, shards, sources

        if not (folder / "concepts.json").exists():
            sources.build(folder, only=concepts.FIRST if first else ())
        shards.build(folder, shard_count)
        return
    import torch

    torch.set_num_threads(2)
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
    elif stage == "samples":
        from studio.training import samples

        samples.sheet(folder, folder / "samples.png")
    elif stage == "evaluate":
        from studio.training import evaluate

        evaluate.contact_sheet(target, folder / "contact.png")
    elif stage == "export":
        from studio.training import export

        export.export(folder, target)


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
    parser.add_argument("--compile", action="store_true", help="unet: compile the net first")
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
        compiled=chosen.compile,
    )


if __name__ == "__main__":
    main()
