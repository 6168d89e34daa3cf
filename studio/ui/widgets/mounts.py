"""Places in the page that the modules in assets/ui draw into."""

import re

import gradio as gr


def mount(name: str) -> None:
    """An empty element `#po-<name>`. `name` is a word of the code, never of a person."""
    if not re.fullmatch(r"[a-z-]+", name):
        raise ValueError(name)
    gr.HTML(
        f'<div id="po-{name}"></div>',
        elem_classes=["mount", f"mount-{name}"],
        apply_default_css=False,
    )
