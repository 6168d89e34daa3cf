"""Where the checkout keeps what is not code. Nothing here looks at the disk."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
BUILTIN_CHECKPOINT = ASSETS / "builtin"
"""The built-in checkpoint, a diffusers folder."""
BUILTIN_CONTROLS = ASSETS / "builtin-control"
"""The ControlNets of the built-in checkpoint, a folder for each kind of map."""
CONFIGS = ASSETS / "configs"
"""Configs and tokenizers of each family, for checkpoints that are a single file."""
WEIGHTS = ASSETS / "weights"
"""Small networks that come with the studio, each with its licence beside it."""
STYLES = ASSETS / "styles"
"""Pictures whose look may be tried out."""
PRESETS = STYLES / "presets.csv"
"""The styles in words that come with the studio."""
