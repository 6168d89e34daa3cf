"""The page: a bar, a tab for each entry of the drawer, and the wires that every form has."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from fastapi import FastAPI

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.discovery import open_drawer
from studio.paths import ASSETS
from studio.service import Studio, record_json
from studio.ui.errors import note, told
from studio.ui.form import Form, Updates
from studio.ui.now import now_for
from studio.ui.owner import owner_of
from studio.ui.tabs._tab import Context, Tab
from studio.ui.theme import theme
from studio.ui.widgets.mounts import mount as place
from studio.ui.widgets.presets import as_typed
from studio.ui.widgets.sampling import checkpoint, possible
from studio.ui.widgets.units import brought

MOST_BRIDGE_CHARS = 64 * 1024
MOST_SESSIONS = 500
"""Gradio keeps some 60 KB for each; nothing of ours is in there, so old ones may go."""

_QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}

# two frames later Gradio has drawn what it was sent
_RESTORED = """() => requestAnimationFrame(() => requestAnimationFrame(
    () => document.body.setAttribute("data-restored-TAB", "")))"""

HEAD = """
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" type="image/svg+xml" href="/assets/ui/icons/favicon.svg">
<link rel="stylesheet" href="/assets/ui/studio.css">
<link rel="stylesheet" href="/assets/ui/canvas.css">
<link rel="stylesheet" href="/assets/ui/units.css">
<link rel="stylesheet" href="/assets/ui/memory.css">
<link rel="stylesheet" href="/assets/ui/pose.css">
<link rel="stylesheet" href="/assets/ui/presets.css">
<link rel="stylesheet" href="/assets/ui/checkpoints.css">
<script type="module" src="/assets/ui/main.js"></script>
"""


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Puts the page at `/` of `app`, whose own routes must be there already: they win."""
    page = build(studio)
    page.state_session_capacity = MOST_SESSIONS
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        allowed_paths=[],
        max_file_size="1mb",
        favicon_path=str(ASSETS / "ui" / "icons" / "favicon.png"),
        theme=theme(),
        head=HEAD,
    )


def tabs_in_order() -> tuple[Tab, ...]:
    return tuple(
        sorted(open_drawer("studio.ui.tabs", Tab).values(), key=lambda tab: (tab.place, tab.id))
    )


def build(studio: Studio) -> gr.Blocks:
    """The whole page, with a form and its wires for each tab."""
    context = Context(studio=studio)
    entries = tabs_in_order()
    forms: dict[str, Form] = {}
    with gr.Blocks(title="Pochade", analytics_enabled=False, fill_width=True) as page:
        place("bar")
        gr.HTML(about(entries), elem_classes="mount", visible="hidden")
        with gr.Tabs(elem_id="tabs") as tabs:
            for tab in entries:
                with gr.Tab(tab.label, id=tab.id, elem_id=f"tab-{tab.id}", render_children=True):
                    form = tab.build(context)
                if form is not None:
                    forms[tab.id] = form
        for tab in entries:
            if tab.id in forms:
                _wire(page, studio, tab, forms[tab.id])
        _look_anew(studio, forms)
        _bridge(studio, {tab.id: tab for tab in entries}, forms, tabs)
    return page


def about(entries: tuple[Tab, ...]) -> str:
    """What the modules in assets/ui need to know of the tabs, in an attribute of an element."""
    rows = [
        {
            "id": tab.id,
            "label": tab.label,
            "task": tab.task,
            "takesPicture": tab.from_picture is not None,
        }
        for tab in entries
    ]
    return f'<div id="po-about" data-tabs="{html.escape(json.dumps(rows))}"></div>'


def _wire(page: gr.Blocks, studio: Studio, tab: Tab, form: Form) -> None:
    """Submitting, and the draft: the form as it stands outlives page and server."""

    @told
    def submit(data: dict[Any, Any], request: gr.Request) -> None:
        wishes = tab.to_requests(form.read(data))
        for sentence in submitted(studio, owner_of(request), tab.task or "", wishes):
            note(sentence)

    @told
    def restore(request: gr.Request) -> Updates:
        now = now_for(studio, owner_of(request))
        draft = possible(studio.draft(owner_of(request), tab.id), now.choices)
        return form.write({**form.defaults(now.choices), **draft}, now)

    @told
    def keep(data: dict[Any, Any], request: gr.Request) -> str:
        values = form.read(data)
        studio.save_draft(owner_of(request), tab.id, values)
        return wanted(tab, values)

    asked = gr.HTML("", visible="hidden", elem_id=f"{tab.id}-asked", container=False)

    form.generate.click(
        submit,
        form.inputs,
        None,
        api_name=f"submit_{tab.id}",
        concurrency_limit=None,
        trigger_mode="multiple",
        show_progress="hidden",
        api_visibility="private",
    )
    page.load(restore, None, list(form.outputs), api_name=f"restore_{tab.id}", **_QUIET).then(
        None, None, None, js=_RESTORED.replace("TAB", tab.id)
    )
    gr.on(
        [widget.change for widget in form.widgets.values()],  # type: ignore[attr-defined]
        keep,
        form.inputs,
        asked,
        api_name=f"keep_{tab.id}",
        trigger_mode="always_last",
        **_QUIET,
    )


def wanted(tab: Tab, values: Mapping[str, Any]) -> str:
    """What the form asks for as it stands, where assets/ui/estimate.js finds it; nothing while it
    cannot be asked."""
    try:
        wishes = tab.to_requests(values)
    except InvalidRequest:
        return ""
    if not wishes:
        return ""
    wish = {"task": tab.task, **wishes[0]}
    return f'<div data-ask="{html.escape(json.dumps(wish))}" data-times="{len(wishes)}"></div>'


def submitted(
    studio: Studio, owner: str, task: str, wishes: tuple[dict[str, Any], ...]
) -> Iterator[str]:
    """Queues a job for each; yields what there is to say. The first that is refused ends it."""
    said: set[str] = set()
    for number, fields in enumerate(wishes):
        try:
            job = studio.submit(owner, task, fields)
        except StudioError:
            if number:
                yield f"{number} of {len(wishes)} pictures are queued."
            raise
        yield from (sentence for sentence in job.notes if sentence not in said)
        said.update(job.notes)


def _look_anew(studio: Studio, forms: Mapping[str, Form]) -> None:
    """A button that the page's modules press when weights came or went: what there is to choose
    from changes, and nothing that somebody has chosen or is writing."""
    button = gr.Button(visible="hidden", elem_id="shelf-changed")
    for tab, form in forms.items():

        @told
        def dress(data: dict[Any, Any], request: gr.Request, form: Form = form) -> Updates:
            now = now_for(studio, owner_of(request))
            return form.write({}, now, over=form.read(data))

        button.click(dress, form.inputs, list(form.outputs), api_name=f"anew_{tab}", **_QUIET)


def _bridge(
    studio: Studio, tabs: Mapping[str, Tab], forms: Mapping[str, Form], bar: gr.Tabs
) -> None:
    """A message from the page's modules: put these settings, or this picture, into a form."""
    message = gr.Textbox(visible="hidden", elem_id="bridge-message", label="Message")
    button = gr.Button(visible="hidden", elem_id="bridge-send")

    @told
    def receive(text: str, request: gr.Request) -> Updates:
        owner = owner_of(request)
        tab, values = understood(studio, tabs, forms, owner, text)
        now = now_for(studio, owner)
        draft = possible(studio.draft(owner, tab.id), now.choices)
        written = forms[tab.id].write(possible(values, now.choices), now, over=draft)
        return {bar: gr.Tabs(selected=tab.id), **written}

    button.click(
        receive,
        message,
        [bar, *(block for form in forms.values() for block in form.outputs)],
        api_name="bridge",
        **_QUIET,
    )


def understood(
    studio: Studio,
    tabs: Mapping[str, Tab],
    forms: Mapping[str, Form],
    owner: str,
    text: str,
) -> tuple[Tab, dict[str, Any]]:
    """The tab and the form values that a bridge message stands for.

    A message is {"do": "reuse", "image": id}, {"do": "send", "image": id, "tab": id} or
    {"do": "fill", "settings": fields, "tab": id}. Raises `InvalidRequest`, or `NotFound` for a
    picture that is not this owner's.
    """
    try:
        message = json.loads(text[:MOST_BRIDGE_CHARS])
        action = message["do"]
        if action == "fill":
            tab = tabs[message["tab"]]
            if tab.id in forms:
                return tab, tab.from_settings(message["settings"])
        record = record_json(studio.record(owner, str(message["image"])))
        if action == "reuse":
            tab = _form_tab(tabs, forms, record["task"])
            asked = as_typed(record["request"], lambda name: studio.preset(owner, name))
            return tab, tab.from_record({**record, "request": asked})
        tab = tabs[message["tab"]]
        if action == "send" and tab.from_picture is not None and tab.id in forms:
            values = tab.from_picture(record)
            if "units" in forms[tab.id].widgets and "units" not in values:
                values = {**values, **_units_of(record, studio, owner, tab)}
            return tab, values
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    raise InvalidRequest("The page sent something that it should not.", "Reload it and try again.")


def _units_of(record: Mapping[str, Any], studio: Studio, owner: str, tab: Tab) -> dict[str, Any]:
    """The control units that a picture brings to a tab that it is sent to."""
    draft, asked = studio.draft(owner, tab.id), record["request"]
    there = checkpoint(studio.choices(), draft.get("checkpoint")) or {}
    same = there.get("id") == asked.get("checkpoint")
    return brought(asked, draft.get("units"), same_checkpoint=same)


def _form_tab(tabs: Mapping[str, Tab], forms: Mapping[str, Form], task: str | None) -> Tab:
    """The tab whose form asks for `task`, else the first one with a form."""
    offered = [tab for tab in tabs.values() if tab.id in forms]
    for tab in offered:
        if tab.task == task:
            return tab
    if offered:
        return offered[0]
    raise NotFound("There is no form here to put settings into.", "Reload the page.")
