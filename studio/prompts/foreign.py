"""Settings out of a picture file, whichever program made it.

Nothing in the file is trusted, run, followed or rendered: texts are read within limits, numbers are
put within bounds, and what cannot be honoured here is said in a note.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from studio.core.errors import InvalidRequest
from studio.prompts.files import a1111, comfy, fooocus, invoke, novelai, pochade, stealth, swarm
from studio.prompts.files.containers import texts
from studio.prompts.files.found import Found, Recovered, recovered

__all__ = ["Recovered", "recover"]

_DAMAGED = "The picture's own record is damaged; the settings come from the text beside it."

_READERS: tuple[Callable[[Mapping[str, str]], Found | None], ...] = (
    pochade.read,
    invoke.read,
    invoke.read_sd_metadata,
    invoke.read_dream,
    swarm.read,
    fooocus.read,
    a1111.read,
    comfy.read,
    novelai.read,
)
"""In this order: what says most about itself first."""


def recover(data: bytes) -> Recovered:
    """The settings in a PNG, JPEG or WebP file.

    Reads our own record, A1111 and Forge, SD.Next, Fooocus, SwarmUI, InvokeAI, ComfyUI, NovelAI; what
    is hidden in the pixels where nothing lies beside them. Raises `InvalidRequest` if the file
    carries no settings, `Unsupported` if it is no such file, `TooLarge` if file or text are beyond
    all measure.
    """
    for look in (texts, stealth.texts):
        held = look(data)
        for read in _READERS:
            if (found := read(held)) is not None:
                if "pochade" in held and found.request is None:
                    found = replace(found, notes=(_DAMAGED, *found.notes))
                return recovered(found)
    raise InvalidRequest(
        "There are no settings in this picture.",
        "Drop the file as the program saved it; chats and social networks often strip them.",
    )
