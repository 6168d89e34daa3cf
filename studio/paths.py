"""Where the checkout keeps what is not code. Nothing here looks at the disk."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
BUILTIN_CHECKPOINT = ASSETS / "builtin"
"""The built-in checkpoint, a diffusers folder."""
CONFIGS = ASSETS / "configs"
"""Configs and tokenizers of each family, for checkpoints that are a single file."""
