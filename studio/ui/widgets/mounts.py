"""Places in the page that the modules in assets/ui draw into."""

import html
import re

import gradio as gr


def mount(part: str, tab: str = "", **about: str) -> None:
    """An empty element that the part `part` of assets/ui/main.js draws into: `#po-<part>`, in a
    tab `#<tab>-<part>`, and for something with a name `#<tab>-<name>-<part>`.

    `part`, `tab` and the names of `about` are words of the code, never of a person; `about`
    becomes `data-…` attributes.
    """
    for word in (part, tab or "none", *about):
        if not re.fullmatch(r"[a-z0-9-]+", word):
            raise ValueError(word)
    facts = {"part": part, "tab": tab, **about}
    said = "".join(f' data-{name}="{html.escape(value)}"' for name, value in facts.items())
    place = "-".join(filter(None, (tab or "po", about.get("name"), part)))
    gr.HTML(
        f'<div id="{place}" class="po-part"{said}></div>',
        elem_classes=["mount", f"mount-{part}"],
        apply_default_css=False,
    )
