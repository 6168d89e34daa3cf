"""Whose page it is."""

import gradio as gr


def owner_of(request: gr.Request) -> str:
    """The owner that the guard found for this request; never Gradio's session, which is no secret."""
    return request.request.scope["pochade_owner"]
