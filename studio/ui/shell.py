"""The page: a bar, a tab for each entry of the drawer, and the wires that every form has."""

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import gradio as gr
from fastapi import FastAPI

from studio.core.errors import InvalidRequest, NotFound, StudioError
from studio.discovery import open_drawer
from studio.paths import ASSETS
from studio.service.studio import Studio
from studio.service.views import record_json
from studio.ui.errors import note, told
from studio.ui.form import Follow, Form, Now, Updates, Values
from studio.ui.head import head
from studio.ui.now import now_for
from studio.ui.owner import owner_of
from studio.ui.tabs._tab import Arrival, Context, Tab
from studio.ui.theme import theme
from studio.ui.widgets import presets
from studio.ui.widgets.mounts import mount as place
from studio.ui.widgets.sampling import absent, possible
from studio.ui.widgets.unheld import unheld

MOST_BRIDGE_CHARS = 64 * 1024
MOST_SESSIONS = 500
"""Gradio keeps some 60 KB for each; nothing of ours is in there, so old ones may go."""

# two frames later Gradio has drawn what it was sent
_RESTORED = """() => requestAnimationFrame(() => requestAnimationFrame(
    () => document.body.setAttribute("data-restored-TAB", "")))"""
_WRITTEN = """() => document.dispatchEvent(new CustomEvent("pochade-written", {detail: "TAB"}))"""
_SENT = """said => {
    const detail = JSON.parse(said);
    document.dispatchEvent(new CustomEvent("pochade-written", {detail: detail.tab}));
    document.dispatchEvent(new CustomEvent("pochade-sent", {detail}));
}"""
_REFUSED = """message => {
    const {number} = JSON.parse(message);
    document.dispatchEvent(new CustomEvent("pochade-sent", {detail: {number}}));
}"""


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
        head=head(),
    )


def tabs_in_order() -> tuple[Tab, ...]:
    return tuple(
        sorted(open_drawer("studio.ui.tabs", Tab).values(), key=lambda tab: (tab.place, tab.id))
    )


def build(studio: Studio) -> gr.Blocks:
    """The whole page, with a form and its wires for each tab."""
    context = Context(choices=studio.offers())
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
        first = next(iter(forms), None)
        wires = _Wires(page=page, studio=studio, nowhere=gr.HTML(visible=False))
        for tab in entries:
            if tab.id in forms:
                wires.lay(tab, forms[tab.id], at_once=tab.id == first)
        _bridge(studio, {tab.id: tab for tab in entries}, forms, tabs, wires.quiet)
        _describe_once(page)
    return page


def _describe_once(page: gr.Blocks) -> None:
    """Gradio describes all components of a page four times while it puts the page in its place,
    and nothing changes between."""
    described = page.default_config
    described.get_config = cache(described.get_config)


def about(entries: tuple[Tab, ...]) -> str:
    """What the modules in assets/ui need to know of the tabs, in an attribute of an element."""
    rows = [
        {
            "id": tab.id,
            "label": tab.label,
            "task": tab.task,
            "takesPicture": tab.from_picture is not None,
            "invitation": tab.invitation,
        }
        for tab in entries
    ]
    return f'<div id="po-about" data-tabs="{html.escape(json.dumps(rows))}"></div>'


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wires:
    """Between the forms and the server."""

    page: gr.Blocks
    studio: Studio
    nowhere: gr.HTML

    @property
    def quiet(self) -> dict[str, Any]:
        """How everything but a submit is called. Gradio tells each output of each call three times
        how far it is, which for the hundreds that forms have takes longer than the call itself:
        nobody looks at `nowhere`."""
        return {
            "queue": False,
            "show_progress": "hidden",
            "show_progress_on": self.nowhere,
            "api_visibility": "private",
        }

    def lay(self, tab: Tab, form: Form, *, at_once: bool) -> None:
        """Submitting, following, and the draft: the form as it stands outlives page and server.

        A form is restored once on each page: when it is loaded if `at_once`, else when the page's
        modules ask for it, see assets/ui/forms.js.
        """
        asked = gr.HTML("", visible="hidden", elem_id=f"{tab.id}-asked", container=False)
        self._submit(tab, form)
        self._restore(tab, form, asked, at_once)
        self._keep(tab, form, asked)
        self._look_anew(tab, form)
        for change, follows in form.follows().items():
            self._follow(tab, form, change, follows)

    def _submit(self, tab: Tab, form: Form) -> None:
        @told
        def submit(data: dict[Any, Any], request: gr.Request) -> None:
            wishes = tab.to_requests(form.read(data))
            for sentence in submitted(self.studio, owner_of(request), tab.task or "", wishes):
                note(sentence)

        form.generate.click(
            submit,
            {*form.inputs},
            None,
            api_name=f"submit_{tab.id}",
            concurrency_limit=None,
            trigger_mode="multiple",
            show_progress="hidden",
            api_visibility="private",
        )

    def _restore(self, tab: Tab, form: Form, asked: gr.HTML, at_once: bool) -> None:
        @told
        def restore(request: gr.Request) -> Updates:
            owner = owner_of(request)
            now = now_for(self.studio, owner)
            draft = possible(self.studio.draft(owner, tab.id), now.choices)
            values = {**form.defaults(now.choices), **draft}
            return {**form.news(form.write(values, now)), asked: wanted(tab, values)}

        event = self.page.load if at_once else _button(f"{tab.id}-restore").click
        outputs = [*form.outputs, asked]
        done = event(restore, None, outputs, api_name=f"restore_{tab.id}", **self.quiet)
        for after in (done.success, done.failure):
            after(None, None, None, js=_RESTORED.replace("TAB", tab.id))

    def _keep(self, tab: Tab, form: Form, asked: gr.HTML) -> None:
        """After what a person did, for which the page's modules press a button where Gradio has no
        event for exactly that. `change` would also tell of what the server writes, and in the
        middle of it."""

        @told
        def keep(data: dict[Any, Any], request: gr.Request) -> str:
            values = form.read(data)
            self.studio.save_draft(owner_of(request), tab.id, values)
            return wanted(tab, values)

        used = [
            widget.input  # type: ignore[attr-defined]
            for widget in form.widgets.values()
            if not isinstance(widget, gr.Textbox)
        ]
        gr.on(
            [*used, _button(f"{tab.id}-keep").click],
            keep,
            form.inputs,
            asked,
            api_name=f"keep_{tab.id}",
            trigger_mode="always_last",
            **self.quiet,
        )

    def _follow(
        self,
        tab: Tab,
        form: Form,
        change: Callable[[Values, Now], Values],
        follows: Sequence[Follow],
    ) -> None:
        steering = form.steering

        @told
        def answer(data: dict[Any, Any], request: gr.Request) -> Updates:
            now = now_for(self.studio, owner_of(request))
            values = form.read(data)
            steered = {name: data.get(control) for name, control in steering.items()}
            return form.write(change({**steered, **values}, now), now, over=values)

        gr.on(
            [one.event for one in follows],
            answer,
            form.inputs | set(steering.values()),
            form.outputs,
            api_name=f"{follows[0].name}_{tab.id}",
            trigger_mode="always_last",
            **self.quiet,
        ).then(None, None, None, js=_WRITTEN.replace("TAB", tab.id))

    def _look_anew(self, tab: Tab, form: Form) -> None:
        """For when weights came or went: what there is to choose from changes, and nothing that
        somebody has chosen or is writing."""

        @told
        def dress(data: dict[Any, Any], request: gr.Request) -> Updates:
            return form.write({}, now_for(self.studio, owner_of(request)), over=form.read(data))

        _button(f"{tab.id}-anew").click(
            dress, {*form.inputs}, [*form.outputs], api_name=f"anew_{tab.id}", **self.quiet
        )


def _button(elem_id: str) -> gr.Button:
    """One that only the page's modules press."""
    return gr.Button(visible="hidden", elem_id=elem_id)


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


def _bridge(
    studio: Studio,
    tabs: Mapping[str, Tab],
    forms: Mapping[str, Form],
    bar: gr.Tabs,
    quiet: Mapping[str, Any],
) -> None:
    """A message from the page's modules: put these settings, or this picture, into a form, which
    they have had restored before."""
    message = gr.Textbox(visible="hidden", elem_id="bridge-message", label="Message")
    said = gr.Textbox(visible="hidden", elem_id="bridge-said", label="What became of it")
    button = _button("bridge-send")

    @told
    def receive(text: str, request: gr.Request) -> Updates:
        owner = owner_of(request)
        now = now_for(studio, owner)
        tab, found = understood(studio, tabs, forms, owner, now, text)
        form = forms[tab.id]
        draft = possible(studio.draft(owner, tab.id), now.choices)
        values = possible(found.values, now.choices, draft)
        answer = {
            "number": json.loads(text).get("number"),
            "tab": tab.id,
            "filled": filled(form, values),
            "notes": found.notes,
        }
        written = form.write(values, now, over=draft)
        return {bar: gr.Tabs(selected=tab.id), said: json.dumps(answer), **written}

    done = button.click(
        receive,
        message,
        [bar, said, *(block for form in forms.values() for block in form.outputs)],
        api_name="bridge",
        trigger_mode="multiple",
        **quiet,
    )
    done.success(None, said, None, js=_SENT)
    done.failure(None, message, None, js=_REFUSED)


def filled(form: Form, values: Values) -> list[str]:
    """What the widgets are called that these values put something into."""
    widgets = {name: widget for name, widget in form.widgets.items() if values.get(name)}
    # a seed goes by the name of what it is chosen with
    named = [str(widget.label or "") for name, widget in widgets.items() if name != "seed"]
    return [label for label in dict.fromkeys(one.partition(" (")[0] for one in named) if label]


def understood(
    studio: Studio,
    tabs: Mapping[str, Tab],
    forms: Mapping[str, Form],
    owner: str,
    now: Now,
    text: str,
) -> tuple[Tab, Arrival]:
    """The tab that a bridge message is for, what its form holds from then on, and what it cannot
    take.

    A message is {"do": "reuse", "image": id}, {"do": "send", "image": id, "tab": id},
    {"do": "fill", "settings": fields, "tab": id} or {"do": "put", "values": draft, "tab": id}, which
    brings back what the form held before; the page adds the tab to the first, too, and to all a
    number, by which it knows the answer. Raises `InvalidRequest`, or `NotFound` for a picture that
    is not this owner's.
    """

    def typed(asked: Mapping[str, Any], tab: Tab) -> Mapping[str, Any]:
        if presets.NAME not in forms[tab.id].widgets:
            return asked
        return presets.as_typed(asked, lambda name: studio.seen_by(owner).preset(name))

    def lost(asked: Mapping[str, Any], tab: Tab) -> tuple[str, ...]:
        widgets = forms[tab.id].widgets
        return (*absent(asked, now.choices), *presets.unwritten(asked), *unheld(asked, widgets))

    try:
        message = json.loads(text[:MOST_BRIDGE_CHARS])
        action = message["do"]
        if action == "fill":
            tab = tabs[message["tab"]]
            if tab.id in forms:
                asked = typed(dict(message["settings"]), tab)
                return tab, Arrival(values=tab.from_settings(asked), notes=lost(asked, tab))
        if action == "put":
            tab = tabs[message["tab"]]
            before = {**forms[tab.id].defaults(now.choices), **dict(message["values"])}
            return tab, Arrival(values=before)
        record = record_json(studio.record(owner, str(message["image"])))
        tab = _form_tab(tabs, forms, record["task"]) if action == "reuse" else tabs[message["tab"]]
        if tab.id in forms:
            record["request"] = typed(record["request"], tab)
        if action == "reuse":
            return tab, Arrival(values=tab.from_record(record), notes=lost(record["request"], tab))
        if action == "send" and tab.from_picture is not None and tab.id in forms:
            draft = possible(studio.draft(owner, tab.id), now.choices)
            held = {**forms[tab.id].defaults(now.choices), **draft}
            found = tab.from_picture(record, held, now)
            said = lost(record["request"], tab) if record["prompt"] else ()
            return tab, replace(found, notes=(*said, *found.notes))
    except (KeyError, TypeError, ValueError):
        pass
    raise InvalidRequest("The page sent something that it should not.", "Reload it and try again.")


def _form_tab(tabs: Mapping[str, Tab], forms: Mapping[str, Form], task: str | None) -> Tab:
    """The tab whose form asks for `task`, else the first one with a form."""
    offered = [tab for tab in tabs.values() if tab.id in forms]
    for tab in offered:
        if tab.task == task:
            return tab
    if offered:
        return offered[0]
    raise NotFound("There is no form here to put settings into.", "Reload the page.")
