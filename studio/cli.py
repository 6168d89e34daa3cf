"""The command line: serve (default) · generate · checkpoints · test · bench.

Only what a command needs is imported, when it runs: `--help` needs nothing but Python itself.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from studio import __version__
from studio.commands.exit_codes import BAD_INPUT, EXPLAINED, OK, STOPPED, exit_code

COMMANDS = ("serve", "generate", "checkpoints", "test", "bench")

SETTINGS = """\
Every setting can also be written into studio.toml, in the current folder or the data folder, or
given as a variable: --data-dir is data_dir there and STUDIO_DATA_DIR here. Flags win over
variables, and variables over the file.
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence and a hint, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        print(f"{message[:1].upper()}{message[1:]}.", file=sys.stderr)
        print(f"See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit code. Prints errors, never a traceback for what a person did."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in {"-h", "--help", "--version"}):
        given.insert(0, "serve")
    if given[0] in {"test", "bench"}:
        return _developer(given[0], given[1:])
    options = vars(parser().parse_args(given))
    command = options.pop("command")
    as_json = bool(options.get("json"))
    from studio.core.errors import StudioError

    try:
        return _run(command, options)
    except StudioError as error:
        return _say(error, as_json=as_json)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # whoever read the output has left, as `| head` does; nothing more can be said to them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _run(command: str, options: dict[str, Any]) -> int:
    if command == "generate":
        from studio.commands.generate import generate

        return generate(options)
    if command == "checkpoints":
        from studio.commands.checkpoints import checkpoints

        return checkpoints(options)
    # nothing that is made until the page answers is garbage, and looking for some takes a sixth of
    # the start; `serve` turns it on again
    gc.disable()
    try:
        from studio.commands.serve import serve

        return serve(options)
    finally:
        gc.enable()


def parser() -> argparse.ArgumentParser:
    top = Parser(
        prog="pochade",
        description="An image studio in the browser. Without a command it is served.",
        epilog=f"{SETTINGS}\n{EXPLAINED}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pochade {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _serve(_command(commands, "serve", "show the studio in the browser (what happens without one)"))
    _generate(_command(commands, "generate", "make pictures from the command line"))
    _checkpoints(
        _command(
            commands, "checkpoints", "list, inspect, verify, convert, merge and install checkpoints"
        )
    )
    commands.add_parser("test", help="run the tests; what follows goes to pytest", add_help=False)
    commands.add_parser("bench", help="run measurements, all or those named", add_help=False)
    return top


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=f"{SETTINGS}\n{EXPLAINED}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=None,
    )


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", metavar="DIR", help="where everything is kept")
    command.add_argument(
        "--checkpoints",
        dest="checkpoint_dirs",
        action="append",
        metavar="DIR",
        help="one more folder with checkpoints; can be given again",
    )
    command.add_argument(
        "--upscalers",
        dest="upscaler_dirs",
        action="append",
        metavar="DIR",
        help="one more folder with upscalers; can be given again",
    )
    command.add_argument(
        "--models-dir",
        dest="models_dirs",
        action="append",
        metavar="DIR",
        help="a folder of A1111, ComfyUI or InvokeAI, or a Hugging Face cache, read where it lies",
    )


def _painting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", help="what paints: auto, cpu or cuda")
    command.add_argument("--dtype", help="number format: auto, float32, float16 or bfloat16")
    command.add_argument(
        "--ram-budget",
        metavar="SIZE",
        help="memory that weights may take, such as 8GB; half of what there is without it",
    )
    command.add_argument(
        "--vram-budget", metavar="SIZE", help="the same for a GPU; 70 %% of it without it"
    )
    command.add_argument(
        "--converted-space",
        metavar="SIZE",
        help="disk for weights that need not be converted again; a fifth of what is free without it, "
        "0 for none",
    )


def _serve(command: argparse.ArgumentParser) -> None:
    _common(command)
    _painting(command)
    command.add_argument("--port", help="port to listen on; the next free one if it is taken")
    command.add_argument("--host", help="address to listen on; 127.0.0.1 is this machine alone")
    command.add_argument(
        "--listen",
        action="store_const",
        const=True,
        help="let the local network in; people need the link that is printed, or a password",
    )
    command.add_argument(
        "--share",
        action="store_const",
        const=True,
        help="get an address on the internet, through Gradio's tunnel",
    )
    command.add_argument(
        "--share-hours", metavar="N", help="hours after which sharing ends by itself, 168 at most"
    )
    command.add_argument(
        "--guest-jobs", metavar="N", help="jobs that each guest of the link may ask for a day"
    )
    command.add_argument(
        "--guest-pixels", metavar="N", help="width x height of a guest's largest picture"
    )
    command.add_argument(
        "--auth",
        action="append",
        metavar="NAME:PASSWORD",
        help="somebody who may log in; can be given again, each has their own pictures",
    )
    command.add_argument(
        "--public",
        action="store_const",
        const=True,
        help="let anybody in who can reach the studio, without a login",
    )
    command.add_argument(
        "--allow-install",
        dest="allow_install",
        action="append",
        metavar="NAME",
        help="somebody of --auth who may install checkpoints too; can be given again",
    )
    command.add_argument(
        "--allow-host",
        dest="allowed_hosts",
        action="append",
        metavar="NAME",
        help="a name that a reverse proxy reaches the studio under; can be given again",
    )
    command.add_argument(
        "--open",
        dest="open_browser",
        action=argparse.BooleanOptionalAction,
        help="open the page in a browser, or do not",
    )


def _generate(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt", nargs="?", help="what to paint")
    command.add_argument(
        "--task",
        default="txt2img",
        help="what to do: img2img, inpaint, outpaint, upscale, control, preprocess or style",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other field of the request, as text or JSON; @FILE stands for a picture; can be "
        "given again",
    )
    command.add_argument("--out", default=".", metavar="DIR", help="where copies of the files go")
    command.add_argument("--count", help="pictures to make")
    command.add_argument(
        "--seed", help="random numbers of the first; the next picture has seed + 1"
    )
    command.add_argument("--size", metavar="WxH", help="pixels, such as 512x768")
    command.add_argument("--steps", help="denoising steps")
    command.add_argument(
        "--guidance", help="how strictly the prompt is followed; 1 switches it off"
    )
    command.add_argument("--sampler", help='by name, such as "DPM++ 2M Karras"')
    command.add_argument("--checkpoint", help="weights to paint with; see the command checkpoints")
    command.add_argument("--negative", metavar="PROMPT", help="what to keep away from")
    command.add_argument(
        "--weights",
        choices=("planned", "whole", "packed", "fp8", "blocks"),
        help="how the checkpoint is kept in memory: as planned, whole, as in its file, in 8 bits, or "
        "block by block",
    )
    command.add_argument("--json", action="store_true", help="print one JSON object at the end")
    _common(command)
    _painting(command)


def _checkpoints(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")
    _common(command)
    actions = command.add_subparsers(dest="action", metavar="ACTION")
    _action(actions, "list", "which there are (what happens without an action)")
    _action(
        actions, "inspect", "family, parts, number formats, hashes and metadata of one"
    ).add_argument("name", metavar="NAME", help="of a checkpoint, as the list shows it")
    _action(actions, "verify", "read every byte of one, or of all").add_argument(
        "name", metavar="NAME", nargs="?", help="of a checkpoint, as the list shows it"
    )
    convert = _action(actions, "convert", "write one in another layout or number format")
    convert.add_argument("name", metavar="NAME", help="of a checkpoint, as the list shows it")
    convert.add_argument(
        "--to",
        choices=("file", "folder"),
        required=True,
        help="a single file, or diffusers' folder",
    )
    merge = _action(actions, "merge", "make one of two or three")
    merge.add_argument("names", metavar="NAME", nargs="+", help="A B, or A B C")
    merge.add_argument(
        "--method",
        choices=("weighted", "add-difference"),
        default="weighted",
        help="A (1 - alpha) + B alpha, or A + (B - C) alpha",
    )
    merge.add_argument("--alpha", type=float, required=True, help="how much of B, or of B - C")
    merge.add_argument(
        "--to",
        choices=("file", "folder"),
        help="a single file, or diffusers' folder; without it a file where there can be one",
    )
    install = _action(actions, "install", "fetch one from Hugging Face or an address")
    install.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="owner/name or owner/name/file.safetensors on Hugging Face, or an https address",
    )
    install.add_argument(
        "--for",
        dest="lacking",
        metavar="NAME",
        help="of a checkpoint, as the list shows it: fetch the files that it lacks",
    )
    install.add_argument("--name", help="what it is to be called")
    install.add_argument("--sha256", metavar="DIGITS", help="what a single file's hash must be")
    for writing in (convert, merge):
        writing.add_argument(
            "--dtype",
            dest="to_dtype",
            choices=("fp16", "bf16", "fp32"),
            help="number format; without it, numbers stay as they are",
        )
        writing.add_argument(
            "--out",
            metavar="PATH",
            required=writing is merge,
            help="a name, which lies in 'checkpoints' in the data folder, or a path",
        )
        writing.add_argument(
            "--force", action="store_true", help="replace what is there under that name"
        )


def _action(actions: Any, name: str, text: str) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=EXPLAINED,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # what is not given here may have been given before the action
        argument_default=argparse.SUPPRESS,
    )
    action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    _common(action)
    return action


def _developer(command: str, rest: Sequence[str]) -> int:
    from studio.commands.developer import bench, test

    return test(rest) if command == "test" else bench(rest)


def _say(error: Any, *, as_json: bool) -> int:
    if as_json:
        import json

        said = {"message": error.message, "hint": error.hint, "field": error.field}
        print(json.dumps({"error": said}, ensure_ascii=False))
    else:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
    return exit_code(error.status)


if __name__ == "__main__":
    sys.exit(main())
