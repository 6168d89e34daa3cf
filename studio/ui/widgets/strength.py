"""How much of a picture is painted anew."""

import gradio as gr

from studio.families._family import Role
from studio.ui.form import Choices, Follow, Now, Piece, Updates, Values, unchanged
from studio.ui.widgets import sampling
from studio.ui.widgets.names import named

WORDS = (
    (0.0, "keeps it as it is"),
    (0.25, "touches it up lightly"),
    (0.5, "repaints, close to it"),
    (0.7, "repaints half freely"),
    (0.9, "repaints freely"),
    (1.0, "only the words count"),
)
"""What happens up to each strength."""


def strength(tab: str, start: float, role: Role = Role.IMAGE) -> Piece:
    """A slider from 0, which keeps the picture, to 1, which repaints it; a sentence in its place for
    checkpoints to which it means nothing in that role."""
    slider = gr.Slider(
        0, 1, value=start, step=0.05, label="Strength", buttons=[], **named(tab, "strength")
    )
    readout = gr.HTML(_shown(start), **named(tab, "strength-words"))

    def defaults(choices: Choices) -> Values:
        return {"strength": start}

    def dress(values: Values, now: Now) -> Updates:
        if sampling.strengthless(now.choices, values.get("checkpoint"), role):
            said = f'<span class="meaning">{sampling.AFTER_PICTURES}</span>'
            return {slider: gr.update(visible=False), readout: gr.update(value=said)}
        return {
            slider: gr.update(visible=True),
            readout: gr.update(value=_shown(values.get("strength"))),
        }

    return Piece(
        widgets={"strength": slider},
        defaults=defaults,
        dress=dress,
        dressed=(readout,),
        follows=(Follow(event=slider.input, change=unchanged, name="strength"),),
    )


def in_words(strength: float) -> str:
    """What a strength between 0 and 1 does to the picture."""
    return next((words for most, words in WORDS if strength <= most), WORDS[-1][1])


def _shown(strength: object) -> str:
    # a draft may hold anything
    text = in_words(strength) if isinstance(strength, int | float) else ""
    return f'<span class="meaning" role="status">{text}</span>'
