"""Autoencoders on disk that can be used instead of a checkpoint's own."""

from dataclasses import dataclass, replace
from pathlib import Path

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.files import File, Files, Foreign, Words
from studio.checkpoints.header import Header
from studio.checkpoints.latents import latent_channels

WORDS = Words(kind="VAE", folder="vae", field="vae")


@dataclass(frozen=True, kw_only=True, slots=True)
class Vae(File):
    """An autoencoder: a file of its own, or the one in a diffusers folder."""

    latents: int = 0
    """Channels of its latents."""

    def fits(self, checkpoint: Checkpoint) -> bool:
        return self.latents == checkpoint.latents


def vaes(folders: tuple[Path, ...] = ()) -> Files[Vae]:
    """The autoencoders below these folders."""
    return Files(WORDS, Vae, _known, folders)


def _known(blank: Vae, header: Header) -> Vae:
    latents = latent_channels(header.shapes)
    whole = any("encoder." in key.replace("decoder.", "") for key in header.shapes)
    if not latents or not whole:
        raise Foreign("It is no VAE of a kind that the studio knows.")
    return replace(blank, latents=latents)
