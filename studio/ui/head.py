"""What the page's head holds beside Gradio's: our style sheets and modules.

They lie at an address that changes with them, so that a browser keeps them and never shows an old
one. Modules find each other by relative addresses, below the same version; all are named here,
or the browser would learn of them one import after another.
"""

from functools import cache

from studio.core.versions import version
from studio.paths import ASSETS

FOLDER = ASSETS / "ui"
SHEETS = ("studio", "canvas", "units", "memory", "pose", "presets", "checkpoints")
"""In the order in which they overrule each other."""


@cache
def head() -> str:
    """HTML for the page's head."""
    ours = f"/assets/ui/v-{version(FOLDER)}"
    modules = sorted(file.name for file in FOLDER.glob("*.js"))
    return "\n".join(
        (
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<link rel="icon" type="image/svg+xml" href="{ours}/icons/favicon.svg">',
            *(f'<link rel="stylesheet" href="{ours}/{name}.css">' for name in SHEETS),
            *(f'<link rel="modulepreload" href="{ours}/{name}">' for name in modules),
            f'<script type="module" src="{ours}/main.js"></script>',
        )
    )
