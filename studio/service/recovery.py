"""Settings inside pictures of any program, matched to what is here."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from studio import samplers
from studio.core.errors import StudioError
from studio.service.shelves import Shelves
from studio.tasks._extras import MOST_NAMED, with_loras_here

if TYPE_CHECKING:
    from studio.checkpoints.meant import Meant
    from studio.prompts.foreign import Recovered


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """From the bytes of a picture to fields of a request."""

    shelves: Shelves
    recover: "Callable[[bytes], Recovered]"
    """What the picture says, whatever is here."""
    meant: "Callable[[str, str], Meant]"
    """The checkpoint of a name and a hash."""
    meant_lora: Callable[[str, str], str | None]
    """The name that a LoRA of this name or hash has here."""

    def read(self, data: bytes) -> "Recovered":
        """The settings inside a picture made here or by another program.

        The checkpoint is among them if the one of that hash or name is here; if not, or if it is
        another one of that name, a note says so. The upscaler of a second pass goes by its name,
        LoRAs by name or hash; tags of those that are not here are taken out. A sampler becomes its
        namesake that fits the checkpoint, or a note.
        """
        return self._with_sampler(
            self._with_refiner(
                self._with_checkpoint(self._with_extras(self._with_upscaler(self.recover(data))))
            )
        )

    def _with_sampler(self, found: "Recovered") -> "Recovered":
        """The name "Euler, Simple" means one way with a diffusion checkpoint and another with a flow."""
        name = found.fields.get("sampler")
        if name is None:
            return found
        with suppress(StudioError):  # a checkpoint or a sampler that is not here was told already
            checkpoint = self.shelves.catalog.get(found.fields.get("checkpoint"))
            if row := samplers.fitting(name, checkpoint.samplers):
                return replace(found, fields={**found.fields, "sampler": row.id})
            if "checkpoint" in found.fields:
                note = f"The sampler '{samplers.find(name).label}' does not fit the checkpoint; its own is used."
                without = {k: v for k, v in found.fields.items() if k != "sampler"}
                return replace(found, fields=without, notes=(*found.notes, note))
        return found

    def _with_checkpoint(self, found: "Recovered") -> "Recovered":
        """By hash or name."""
        if not found.checkpoint_name and not found.checkpoint_hash:
            return found
        meant = self.meant(found.checkpoint_name or "", found.checkpoint_hash or "")
        fields = {"checkpoint": meant.checkpoint_id} if meant.checkpoint_id else {}
        notes = (meant.note,) if meant.note else ()
        return replace(found, fields={**found.fields, **fields}, notes=(*found.notes, *notes))

    def _with_refiner(self, found: "Recovered") -> "Recovered":
        """By hash or name too, if it is one for the checkpoint."""
        without = {k: v for k, v in found.fields.items() if k != "refiner_after"}
        if not found.refiner_name and not found.refiner_hash:
            return replace(found, fields=without)
        meant = self.meant(found.refiner_name or "", found.refiner_hash or "")
        with suppress(StudioError):
            refiner = self.shelves.catalog.get(meant.checkpoint_id or "")
            if refiner.family in self.shelves.catalog.get(found.fields.get("checkpoint")).refiners:
                return replace(found, fields={**found.fields, "refiner": refiner.id})
        name = found.refiner_name or found.refiner_hash
        note = f"The refiner '{name}' is not here, or none for this checkpoint; it is left out."
        return replace(found, fields=without, notes=(*found.notes, note))

    def _with_extras(self, found: "Recovered") -> "Recovered":
        """VAE and embeddings go by name, too."""
        fields, notes = dict(found.fields), list(found.notes)
        if name := found.vae_name:
            if vae := self.shelves.extras.vaes.meant(name):
                fields["vae"] = vae
            else:
                notes.append(f"The VAE '{name}' is not here; the checkpoint's own is used.")
        notes += [
            f"The embedding '{name}' is not here: it is read as a word."
            for name in found.embeddings[:MOST_NAMED]
            if self.shelves.extras.embeddings.meant(name) is None
        ]
        return self._with_loras(replace(found, fields=fields, notes=tuple(notes)))

    def _with_loras(self, found: "Recovered") -> "Recovered":
        prompt, notes = with_loras_here(
            found.prompt, lambda name: self.meant_lora(name, found.lora_hashes.get(name, ""))
        )
        if prompt == found.prompt:
            return found
        fields = {**found.fields, "prompt": prompt}
        return replace(found, prompt=prompt, fields=fields, notes=(*found.notes, *notes))

    def _with_upscaler(self, found: "Recovered") -> "Recovered":
        hires = dict(found.fields.get("hires") or {})
        name = hires.pop("upscaler", None)
        if name is None:
            return found
        if upscaler := self.shelves.upscalers.named(name):
            hires["upscaler"] = upscaler.id
            return replace(found, fields={**found.fields, "hires": hires})
        missing = f"The upscaler '{name}' is not here; the studio's own is used."
        return replace(
            found, fields={**found.fields, "hires": hires}, notes=(*found.notes, missing)
        )
