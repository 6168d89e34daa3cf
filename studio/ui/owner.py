"""Whose page it is."""

import gradio as gr


def owner_of(request: gr.Request) -> str:
    """The owner that the guard found for this request; never Gradio's session, which is no secret."""
    asked = request.request
    assert asked is not None  # Gradio has none only for calls that came past the server
    return asked.scope["pochade_owner"]
