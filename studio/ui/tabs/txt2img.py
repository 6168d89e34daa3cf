"""Paint from words."""

from typing import Any

import gradio as gr

from studio.core.records import Job
from studio.ui.errors import told
from studio.ui.form import Choices, Form, Updates, Values
from studio.ui.owner import owner_of
from studio.ui.tabs._tab import Context, Tab
from studio.ui.widgets import sampling, size
from studio.ui.widgets.mounts import mount


def build(context: Context) -> Form:
    choices = context.studio.choices()
    start = sampling.defaults(choices)
    with gr.Row(elem_id="paint", elem_classes="workplace"):
        with gr.Column(elem_classes="words", min_width=280):
            prompt = gr.Textbox(
                label="Prompt",
                placeholder="A red fox in the snow, sticker",
                lines=4,
                max_lines=12,
                elem_id="prompt",
                html_attributes=gr.InputHTMLAttributes(spellcheck=True, autocapitalize="off"),
            )
            mount("prompt-tools")
            negative = gr.Textbox(
                label="Negative prompt",
                placeholder="blurry, text, frame",
                lines=1,
                max_lines=6,
                elem_id="negative-prompt",
                visible=_supports(choices, "negative_prompt"),
            )
            with gr.Row(elem_classes="go"):
                generate = gr.Button("Generate", variant="primary", elem_id="generate", scale=3)
                count = gr.Number(
                    label="Pictures",
                    value=start["count"],
                    minimum=1,
                    maximum=32,
                    precision=0,
                    elem_id="count",
                    min_width=90,
                    scale=1,
                )
            mount("recovered")
        with gr.Column(elem_classes="settings", min_width=280):
            with gr.Group(elem_classes="sizes"):
                shape = gr.Radio(list(size.SHAPES), label="Shape", elem_id="shape", value="1:1")
                with gr.Row(elem_classes="scale-row"):
                    scale = gr.Radio(
                        list(size.SCALES), label="Size", elem_id="scale", value="Medium"
                    )
                    swap = gr.Button("Swap sides", elem_id="swap", size="sm", min_width=44)
                pixels = gr.HTML(
                    sampling.pixels_text(start["width"], start["height"]), elem_id="pixels"
                )
            with gr.Row():
                steps = gr.Slider(
                    1, 150, value=start["steps"], step=1, label="Steps", elem_id="steps", buttons=[]
                )
                guidance = gr.Slider(
                    0,
                    30,
                    value=start["guidance"],
                    step=0.1,
                    label="Guidance",
                    elem_id="guidance",
                    buttons=[],
                )
            sampler = gr.Dropdown(
                [(row["label"], row["id"]) for row in choices["samplers"]],
                value=start.get("sampler"),
                label="Sampler",
                elem_id="sampler",
            )
            with gr.Row(elem_classes="seed-row"):
                seed_mode = gr.Radio(
                    [sampling.RANDOM, sampling.FIXED],
                    value=sampling.RANDOM,
                    label="Seed",
                    elem_id="seed-mode",
                    min_width=150,
                )
                seed = gr.Textbox(
                    label="Number",
                    placeholder="drawn anew",
                    max_lines=1,
                    interactive=False,
                    elem_id="seed",
                    min_width=110,
                )
                reuse = gr.Button("Reuse last", size="sm", elem_id="reuse-seed", min_width=90)
            checkpoint = gr.Dropdown(
                sampling.checkpoint_choices(choices),
                value=start["checkpoint"],
                label="Checkpoint",
                elem_id="checkpoint",
            )
            with gr.Accordion("More settings", open=False, elem_id="more"):
                with gr.Row():
                    width = gr.Number(
                        label="Width (px)",
                        value=start["width"],
                        precision=0,
                        step=8,
                        elem_id="width",
                    )
                    height = gr.Number(
                        label="Height (px)",
                        value=start["height"],
                        precision=0,
                        step=8,
                        elem_id="height",
                    )
                clip_skip = gr.Slider(
                    1,
                    12,
                    value=1,
                    step=1,
                    label="Clip skip",
                    elem_id="clip-skip",
                    buttons=[],
                    visible=_supports(choices, "clip_skip"),
                )
                problems = gr.HTML(sampling.problems_text(choices), elem_id="problems")
        with gr.Column(elem_classes="stage", min_width=280):
            mount("panel")
            mount("queue")
            mount("strip")

    widgets = {
        "prompt": prompt,
        "negative_prompt": negative,
        "checkpoint": checkpoint,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance": guidance,
        "sampler": sampler,
        "seed_mode": seed_mode,
        "seed": seed,
        "count": count,
        "clip_skip": clip_skip,
    }
    seen = sampling.Readouts(shape=shape, scale=scale, pixels=pixels, problems=problems)

    def dress(values: Values, choices: Choices) -> Updates:
        return sampling.dress(widgets, seen, values, choices)

    form = Form(
        widgets=widgets,
        generate=generate,
        defaults=sampling.defaults,
        dress=dress,
        dressed=(shape, scale, pixels, problems),
    )
    _follow(context, form, seen, swap, reuse)
    return form


def _follow(
    context: Context, form: Form, seen: sampling.Readouts, swap: gr.Button, reuse: gr.Button
) -> None:
    """Controls that change other controls."""
    studio = context.studio

    def written(data: dict[Any, Any], values: Values) -> Updates:
        """`values` over what the form holds now."""
        choices = studio.choices()
        changed = {name: value for name, value in values.items() if name in form.widgets}
        updates = form.dress({**form.read(data), **changed}, choices)
        for name, value in changed.items():
            widget = form.widgets[name]
            updates[widget] = {**updates.get(widget, gr.update()), "value": value}
        return updates

    @told
    def resize(data: dict[Any, Any]) -> Updates:
        """A preset was chosen."""
        values = form.read(data)
        current = sampling.checkpoint(studio.choices(), values["checkpoint"])
        if current is None:
            return {}
        width, height = size.fitted(
            data.get(seen.shape) or "1:1",
            data.get(seen.scale) or "Medium",
            current["native_px"],
            current["multiple_px"],
        )
        return written(data, {"width": width, "height": height})

    @told
    def swapped(data: dict[Any, Any]) -> Updates:
        values = form.read(data)
        return written(data, {"width": values["height"], "height": values["width"]})

    @told
    def measured(data: dict[Any, Any]) -> Updates:
        return written(data, {})

    @told
    def picked(data: dict[Any, Any]) -> Updates:
        """Another checkpoint: its own size, steps, guidance and sampler, in the same shape."""
        choices = studio.choices()
        chosen = sampling.native(choices, form.read(data)["checkpoint"])
        current = sampling.checkpoint(choices, chosen["checkpoint"])
        shape, scale = data.get(seen.shape), data.get(seen.scale)
        if current and shape and scale:
            chosen["width"], chosen["height"] = size.fitted(
                shape, scale, current["native_px"], current["multiple_px"]
            )
        return written(data, chosen)

    @told
    def reused(data: dict[Any, Any], request: gr.Request) -> Updates:
        jobs = studio.jobs(owner_of(request), 20)
        if not jobs:
            return {}
        last = max(jobs, key=_created)
        return written(data, {"seed_mode": sampling.FIXED, "seed": str(last.request["seed"])})

    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    inputs = form.inputs | {seen.shape, seen.scale}
    for control in (seen.shape, seen.scale):
        control.input(resize, inputs, form.outputs, api_name="resize", **quiet)
    for name in ("width", "height"):
        form.widgets[name].input(measured, inputs, form.outputs, api_name="measured", **quiet)
    form.widgets["seed_mode"].input(measured, inputs, form.outputs, api_name="seeded", **quiet)
    form.widgets["checkpoint"].input(picked, inputs, form.outputs, api_name="picked", **quiet)
    swap.click(swapped, inputs, form.outputs, api_name="swap", **quiet)
    reuse.click(reused, inputs, form.outputs, api_name="reuse_seed", **quiet)


def _created(job: Job) -> float:
    return job.created


def _supports(choices: Choices, what: str) -> bool:
    current = sampling.checkpoint(choices, None)
    return bool(current["supports"].get(what, True)) if current else True


TAB = Tab(
    id="txt2img",
    label="Paint",
    place=10,
    build=build,
    task="txt2img",
    to_request=sampling.to_fields,
    from_record=sampling.from_record,
    from_settings=sampling.from_settings,
)
