"""What every tab that paints is built of: its three columns and the pieces of its form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from gradio.components import Component

from studio.core.geometry import Size
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets import presets, sampling, size
from studio.ui.widgets.extras import extras
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import UNSEEN, named


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A size that follows from something else, as long as nobody chooses one of their own."""

    label: str
    """What the choice is called, beside `sampling.OWN`: "Like the picture"."""
    size: Callable[[Values, Now], Size | None]
    """What it will be; None while there is nothing that it could follow."""
    unknown: str
    """What is said then."""


def workplace(tab: str) -> gr.Row:
    """Around the three columns of a tab; to be used as a context."""
    return gr.Row(**named(tab, "paint", "workplace"))


def column(name: Literal["words", "settings", "stage"]) -> gr.Column:
    """Words and settings stand to the left, the stage with the picture to the right."""
    return gr.Column(elem_classes=name, min_width=280)


def stage(tab: str) -> None:
    """Where the picture forms; below it what waits, and what was made last."""
    for part in ("panel", "queue", "strip"):
        mount(part, tab)


def words(tab: str, choices: Choices) -> tuple[Piece, gr.Button]:
    """Prompt, negative prompt, number of pictures; and the button that generates them."""
    prompt = gr.Textbox(
        value="",
        label="Prompt",
        info=sampling.prompt_info(choices, None),
        placeholder="A red fox in the snow, sticker",
        lines=4,
        max_lines=12,
        html_attributes=gr.InputHTMLAttributes(spellcheck=True, autocapitalize="off"),
        **named(tab, "prompt"),
    )
    mount("prompt-tools", tab)
    negative = gr.Textbox(
        value="",
        label="Negative prompt",
        placeholder="blurry, text, frame",
        lines=1,
        max_lines=6,
        visible=sampling.supports(choices, None, "negative_prompt"),
        **named(tab, "negative-prompt"),
    )
    with gr.Row(elem_classes="go"):
        generate = gr.Button("Generate", variant="primary", scale=3, **named(tab, "generate"))
        count = gr.Number(
            label="Pictures",
            value=1,
            minimum=1,
            maximum=32,
            precision=0,
            min_width=90,
            scale=1,
            **named(tab, "count"),
        )
    mount("estimate", tab)
    mount("recovered", tab)
    styles = presets.presets(tab)

    def dress(values: Values, now: Now) -> Updates:
        chosen = values.get("checkpoint")
        shown = sampling.supports(now.choices, chosen, "negative_prompt")
        return {
            **styles.dress(values, now),
            prompt: gr.update(info=sampling.prompt_info(now.choices, chosen)),
            negative: gr.update(visible=shown),
        }

    piece = Piece(
        widgets={
            "prompt": prompt,
            "negative_prompt": negative,
            "count": count,
            **styles.widgets,
        },
        defaults=lambda choices: {
            "prompt": "",
            "negative_prompt": "",
            "count": 1,
            **styles.defaults(choices),
        },
        dress=dress,
        dressed=styles.dressed,
        follows=styles.follows,
    )
    return piece, generate


def settings(
    tab: str,
    choices: Choices,
    decided: Decided | None = None,
    with_own: Mapping[str, Component] | None = None,
) -> tuple[Piece, ...]:
    """Size, steps, guidance, sampler, seed, checkpoint, and what folds away.

    With `decided` the size follows from it until a person wants their own; the widgets of
    `with_own`, made with `render=False`, are drawn below it then.
    """
    start = sampling.native(choices, None)
    sizes = _sizes(tab, start, decided, tuple((with_own or {}).values()))
    return sizes, *sampled(tab, choices, tuple(sizes.widgets[side] for side in ("width", "height")))


def sampled(
    tab: str, choices: Choices, sides: tuple[Component, ...] = (), *, refined: bool = True
) -> tuple[Piece, ...]:
    """Steps, guidance, sampler, seed, checkpoint, and what folds away: among it `sides`, made with
    `render=False`, how weights are kept, and with `refined` a refiner."""
    start = sampling.native(choices, None)
    with gr.Row():
        steps = gr.Slider(
            1, 150, value=start["steps"], step=1, label="Steps", buttons=[], **named(tab, "steps")
        )
        guidance = gr.Slider(
            0,
            30,
            value=start["guidance"],
            step=0.1,
            label="Guidance",
            info=sampling.guidance_info(choices, None),
            buttons=[],
            **named(tab, "guidance"),
        )
    sampler = gr.Dropdown(
        sampling.sampler_choices(choices, None),
        value=start["sampler"],
        label="Sampler",
        **named(tab, "sampler"),
    )
    seeds = _seeds(tab)
    checkpoint = gr.Dropdown(
        sampling.checkpoint_choices(choices),
        value=start["checkpoint"],
        label="Checkpoint",
        **named(tab, "checkpoint"),
    )
    settled = gr.Textbox(
        start["checkpoint"] or "",
        visible="hidden",
        label="Settled for",
        **named(tab, "settled-for", UNSEEN),
    )
    mount("picker", tab)
    with gr.Accordion("More settings", open=False, **named(tab, "more")):
        with gr.Row(visible=bool(sides)):
            for side in sides:
                side.render()
        clip_skip = gr.Slider(
            1,
            12,
            value=1,
            step=1,
            label="Clip skip",
            buttons=[],
            visible=sampling.supports(choices, None, "clip_skip"),
            **named(tab, "clip-skip"),
        )
        ways = sampling.weights_choices(choices, None)
        weights = gr.Dropdown(
            ways,
            value=sampling.PLANNED,
            label="Weights in memory",
            info="The less they take, the longer a step may last; 8 bits change the picture.",
            visible=sampling.has_ways(choices, None),
            **named(tab, "weights"),
        )
        problems = gr.HTML(sampling.problems_text(choices), **named(tab, "problems"))

    added = extras(tab, refined=refined)

    widgets = {
        "steps": steps,
        "guidance": guidance,
        "sampler": sampler,
        "checkpoint": checkpoint,
        "clip_skip": clip_skip,
        "weights": weights,
    }

    def dress(values: Values, now: Now) -> Updates:
        chosen = values.get("checkpoint")
        shown = sampling.supports(now.choices, chosen, "clip_skip")
        told = sampling.guidance_info(now.choices, chosen)
        ways = sampling.weights_choices(now.choices, chosen)
        samplers = sampling.sampler_choices(now.choices, chosen)
        fits = values.get("sampler") in {found for _, found in samplers}
        own = {} if fits else {"value": sampling.native(now.choices, chosen).get("sampler")}
        return {
            guidance: gr.update(info=told, interactive=told != sampling.UNGUIDED),
            sampler: gr.update(choices=samplers, **own),
            checkpoint: gr.update(choices=sampling.checkpoint_choices(now.choices)),
            clip_skip: gr.update(visible=shown),
            weights: gr.update(choices=ways, visible=sampling.has_ways(now.choices, chosen)),
            problems: gr.update(value=sampling.problems_text(now.choices)),
            settled: gr.update(value=chosen or ""),
        }

    piece = Piece(
        widgets=widgets,
        defaults=lambda choices: {
            **{name: sampling.native(choices, None).get(name) for name in widgets},
            "clip_skip": 1,
            "weights": sampling.PLANNED,
        },
        dress=dress,
        steering={"settled_for": settled},
        dressed=(problems, settled),
        follows=(Follow(event=checkpoint.input, change=_picked, name="picked"),),
    )
    return piece, added, seeds


def _sizes(
    tab: str, start: Values, decided: Decided | None, with_own: tuple[Component, ...]
) -> Piece:
    """Presets, and two numbers that are not drawn yet: they belong further down."""
    with gr.Group(elem_classes="sizes"):
        mode = _size_mode(tab, decided)
        shape = gr.Radio(
            list(size.SHAPES),
            label="Shape",
            value="1:1",
            visible=decided is None,
            **named(tab, "shape"),
        )
        with gr.Row(elem_classes="scale-row", visible=decided is None) as row:
            scale = gr.Radio(list(size.SCALES), label="Size", value="Medium", **named(tab, "scale"))
            swap = gr.Button("Swap sides", size="sm", min_width=44, **named(tab, "swap"))
        for one in with_own:
            one.render()
        pixels = gr.HTML(
            sampling.pixels_text((start["width"], start["height"])), **named(tab, "pixels")
        )
    sides = {
        side: gr.Number(
            label=f"{side.capitalize()} (px)",
            value=start[side],
            precision=0,
            step=8,
            visible=decided is None,
            render=False,
            **named(tab, side),
        )
        for side in ("width", "height")
    }

    def dress(values: Values, now: Now) -> Updates:
        own = decided is None or values.get("size_mode") == sampling.OWN
        chosen = (values.get("width"), values.get("height"))
        native = sampling.native_size(now.choices, values.get("checkpoint"))
        shape_name, scale_name = size.named(*chosen, *native)
        if own or decided is None:
            text = sampling.pixels_text(chosen)
        else:
            text = sampling.pixels_text(decided.size(values, now), decided.unknown)
        return {
            shape: gr.update(value=shape_name, visible=own),
            scale: gr.update(value=scale_name),
            row: gr.update(visible=own),
            pixels: gr.update(value=text),
            **{one: gr.update(visible=own) for one in (*sides.values(), *with_own)},
        }

    def defaults(choices: Choices) -> Values:
        native = sampling.native(choices, None)
        modes = {"size_mode": decided.label} if decided else {}
        return {**{side: native[side] for side in sides}, **modes}

    widgets = {**sides, **mode}
    return Piece(
        widgets=widgets,
        defaults=defaults,
        dress=dress,
        dressed=(shape, scale, row, pixels),
        steering={"shape": shape, "scale": scale},
        follows=(
            Follow(event=shape.input, change=_resized, name="shape"),
            Follow(event=scale.input, change=_resized, name="scale"),
            Follow(event=swap.click, change=_swapped, name="swap"),
            *(Follow(event=one.input, change=unchanged, name="size") for one in widgets.values()),
        ),
    )


def _size_mode(tab: str, decided: Decided | None) -> dict[str, gr.Radio]:
    if decided is None:
        return {}
    either = [decided.label, sampling.OWN]
    name = named(tab, "size-mode")
    return {"size_mode": gr.Radio(either, value=decided.label, label="Size", **name)}


def _seeds(tab: str) -> Piece:
    with gr.Row(elem_classes="seed-row"):
        mode = gr.Radio(
            [sampling.RANDOM, sampling.FIXED],
            value=sampling.RANDOM,
            label="Seed",
            min_width=150,
            **named(tab, "seed-mode"),
        )
        # a text box, because a number in a browser is exact only up to 2^53
        seed = gr.Textbox(
            value="",
            label="Number",
            placeholder="drawn anew",
            max_lines=1,
            interactive=False,
            min_width=110,
            **named(tab, "seed"),
        )
        reuse = gr.Button("Reuse last", size="sm", min_width=90, **named(tab, "reuse-seed"))

    def dress(values: Values, now: Now) -> Updates:
        return {seed: gr.update(interactive=values.get("seed_mode") == sampling.FIXED)}

    def reused(values: Values, now: Now) -> Values:
        last = now.last_request(tab)
        return {"seed_mode": sampling.FIXED, "seed": str(last["seed"])} if last else {}

    return Piece(
        widgets={"seed_mode": mode, "seed": seed},
        defaults=lambda choices: {"seed_mode": sampling.RANDOM, "seed": ""},
        dress=dress,
        follows=(
            Follow(event=mode.input, change=unchanged, name="seeded"),
            Follow(event=reuse.click, change=reused, name="reuse_seed"),
        ),
    )


def _resized(values: Values, now: Now) -> Values:
    """A preset was chosen."""
    native = sampling.native_size(now.choices, values["checkpoint"])
    width, height = size.fitted(values["shape"] or "1:1", values["scale"] or "Medium", *native)
    return {"width": width, "height": height}


def _swapped(values: Values, now: Now) -> Values:
    return {"width": values["height"], "height": values["width"]}


def _picked(values: Values, now: Now) -> Values:
    """Another checkpoint: its own size, steps, guidance and sampler, in the same shape; its weights
    as planned. Gradio tells of the one that is chosen already, too, when its list is left."""
    if values["checkpoint"] == values.get("settled_for"):
        return {}
    chosen: dict[str, Any] = sampling.native(now.choices, values["checkpoint"])
    if "weights" in values:
        chosen["weights"] = sampling.PLANNED
    if values.get("shape") and values.get("scale"):
        chosen |= _resized(values, now)
    return chosen
