"""A picture among the values of a form: a ref in a hidden text box, which assets/ui/slot.js shows.

The script writes what a person gave into the text box, as if it had been typed, and presses the
button beside it. What the server writes it finds there too; the readout tells when to look.
"""

import html
import re
from collections.abc import Callable

import gradio as gr

from studio.core.requests import ImageRef
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets.mounts import mount
from studio.ui.widgets.names import UNSEEN, named

_REF = re.compile("[0-9a-f]{64}|[0-9a-f]{32}")


def slot(tab: str, name: str, label: str, *, several: bool = False) -> Piece:
    """A place for a picture by upload, drop, paste, camera or from the gallery.

    The value is the picture's ref, or "": several ones have a space between them.
    """
    mount("slot", tab, name=name, label=label, several="yes" if several else "")
    return held(tab, name, label)


def held(tab: str, name: str, label: str) -> Piece:
    """Only the refs, for a script that shows them in its own way: see assets/ui/field.js."""
    return kept(tab, name, label, lambda value: " ".join(refs(value)))


def kept(tab: str, name: str, label: str, told: Callable[[object], str]) -> Piece:
    """A value of a script's own; `told` is what of it the readout repeats."""
    box = gr.Textbox("", visible="hidden", label=label, **named(tab, name, UNSEEN))
    readout = gr.HTML(
        _readout(tab, name, ""), visible="hidden", **named(tab, f"{name}-seen", UNSEEN)
    )
    # the box's own events also tell of what the server wrote, and too early: when a draft is
    # restored, the widgets after it still hold what they held before
    given = gr.Button(visible="hidden", **named(tab, f"{name}-given", UNSEEN))

    def defaults(choices: Choices) -> Values:
        return {name: ""}

    def dress(values: Values, now: Now) -> Updates:
        return {readout: gr.update(value=_readout(tab, name, told(values.get(name))))}

    return Piece(
        widgets={name: box},
        defaults=defaults,
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=given.click, change=unchanged, name=name),),
    )


def refs(value: object) -> tuple[ImageRef, ...]:
    """The refs in a slot's value; what is none is left out."""
    words = value.split() if isinstance(value, str) else ()
    return tuple(word for word in words if _REF.fullmatch(word))


def _readout(tab: str, name: str, ref: str) -> str:
    return f'<div data-slot="{html.escape(f"{tab}-{name}")}" data-ref="{html.escape(ref)}"></div>'
