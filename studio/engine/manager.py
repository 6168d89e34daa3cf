"""Keeps checkpoints in memory and lends them out, a pipeline per job."""

import gc
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from studio.checkpoints.catalog import Checkpoint, denoiser_file, families
from studio.checkpoints.controls import ControlNet
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.loras import Lora
from studio.checkpoints.scan import Stamp, file_stamp, folder_stamp
from studio.checkpoints.vaes import Vae
from studio.core.errors import InvalidRequest, Unavailable
from studio.core.records import NOTHING
from studio.engine.adapters import Adapter, load_adapter
from studio.engine.autoencoders import load_vae
from studio.engine.controls import load_control
from studio.engine.device import Device, is_out_of_memory
from studio.engine.ledger import Holding, Ledger
from studio.engine.loading import Weights, load, pipeline, settled, size_of
from studio.engine.schedulers import build
from studio.families._family import Role
from studio.samplers import ROWS

log = logging.getLogger("pochade.engine")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A checkpoint on loan to one job, as a pipeline of the role it asked for."""

    pipeline: Any
    """The job's own object; its networks are shared."""
    weights: Weights
    checkpoint: Checkpoint
    sha256: "Future[str]"
    """Of the denoiser's file, computed beside the painting the first time."""
    scratch: dict[str, Any]
    """For what is derived from these weights alone; lives and dies with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraLease:
    """A LoRA on loan to one job."""

    lora: Lora
    adapter: Adapter
    sha256: "Future[str]"
    """Of its tensors, computed beside the painting the first time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeLease:
    """An autoencoder on loan to one job."""

    vae: Vae
    module: Any
    sha256: "Future[str]"
    """Of its file, computed beside the painting the first time."""
    scratch: dict[str, Any]
    """For what is derived from it alone."""


@dataclass(slots=True)
class _Kept:
    """An entry of the store."""

    weights: Weights
    stamp: Stamp
    leases: int = 0
    reload_s: float = 0.0
    scratch: dict[str, Any] = field(default_factory=dict[str, Any])


class Manager:
    """Loads each checkpoint once and keeps it until its memory is needed for another.

    Weights are only ever added to or dropped from the device; least recently used ones go first,
    and never while they are on loan.
    """

    def __init__(self, device: Device, configs: Path, hashes: Hashes) -> None:
        self.device = device
        self._configs = configs
        self._hashes = hashes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._pinned: set[str] = set()
        self._loading = threading.Lock()
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._digests: dict[tuple[str, Stamp], Future[str]] = {}

    @property
    def kept(self) -> tuple[str, ...]:
        """Ids of what is in memory, least recently used first."""
        return tuple(self._kept)

    @contextmanager
    def use(
        self,
        checkpoint: Checkpoint,
        role: Role,
        *,
        loading: Callable[[str], None] = lambda what: None,
        extra: Mapping[str, Any] = NOTHING,
    ) -> Generator[Lease]:
        """Lends a checkpoint; `loading` is told before weights are read.

        Raises `InvalidRequest` if the family has no such role and `Unavailable` if it cannot be
        read; the store is then as it was.
        """
        kind = families()[checkpoint.family].pipelines.get(role)
        if kind is None:
            raise InvalidRequest(
                f"'{checkpoint.label}' cannot be used for this.", "Choose another checkpoint."
            )
        kept = self._take(
            checkpoint.id,
            checkpoint.label,
            lambda: _stamp(checkpoint),
            lambda: self._load(checkpoint),
            loading,
        )
        try:
            scheduler = build(ROWS[0], kept.weights.scheduler)
            yield Lease(
                pipeline=pipeline(kind, kept.weights, scheduler, extra),
                weights=kept.weights,
                checkpoint=checkpoint,
                sha256=self._digest(checkpoint, kept.stamp),
                scratch=kept.scratch,
            )
        finally:
            self._give_back(kept)

    @contextmanager
    def use_control(
        self,
        control: ControlNet,
        checkpoint: Checkpoint,
        unet: Any,
        *,
        loading: Callable[[str], None] = lambda what: None,
    ) -> Generator[Any]:
        """Lends a ControlNet for a checkpoint whose denoiser is `unet`.

        Raises `InvalidRequest` if it was made for another kind, `Unavailable` if it cannot be read.
        """
        if control.encoder != checkpoint.encoder:
            raise InvalidRequest(
                f"The ControlNet '{control.label}' is not made for '{checkpoint.label}'.",
                "Choose another ControlNet or another checkpoint.",
                field="units",
            )
        kept = self._take(
            f"controlnet:{control.id}",
            control.label,
            lambda: _file_stamp(control.path, control.label),
            lambda: self._load_control(control, unet),
            loading,
        )
        try:
            yield kept.weights.components["controlnet"]
        finally:
            self._give_back(kept)

    @contextmanager
    def use_lora(
        self, lora: Lora, *, loading: Callable[[str], None] = lambda what: None
    ) -> Generator["LoraLease"]:
        """Lends a LoRA. Raises `Unavailable` if it cannot be read."""
        kept = self._take(
            f"lora:{lora.id}",
            lora.label,
            lambda: _file_stamp(lora.path, lora.label),
            lambda: self._load_lora(lora),
            loading,
        )
        try:
            yield LoraLease(
                lora=lora,
                adapter=kept.weights.components["lora"],
                sha256=self._submitted(lora.path, kept.stamp, self._hashes.tensors),
            )
        finally:
            self._give_back(kept)

    @contextmanager
    def use_networks(
        self,
        key: str,
        label: str,
        path: Path,
        read: Callable[[], Mapping[str, Any]],
        *,
        loading: Callable[[str], None] = lambda what: None,
    ) -> Generator[Mapping[str, Any]]:
        """Lends what `read` makes of a file; `key` names it among everything that is kept.

        Raises `Unavailable` if it cannot be read.
        """

        def settle() -> Weights:
            try:
                return settled(read(), self.device)
            except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
                if is_out_of_memory(error):
                    raise
                log.exception("%s cannot be loaded", key)
                raise Unavailable(
                    f"'{label}' cannot be loaded: its weights are not what they should be.",
                    "Copy or download it again, or choose another one.",
                ) from error

        kept = self._take(key, label, lambda: _file_stamp(path, label), settle, loading)
        try:
            yield kept.weights.components
        finally:
            self._give_back(kept)

    @contextmanager
    def use_vae(
        self, vae: Vae, lease: Lease, *, loading: Callable[[str], None] = lambda what: None
    ) -> Generator[VaeLease]:
        """Lends an autoencoder to be used instead of the one of a checkpoint on loan.

        Raises `InvalidRequest` if its latents are of another kind, `Unavailable` if it cannot be
        read.
        """
        family = families()[lease.checkpoint.family]
        kept = self._take(
            f"vae:{vae.id}@{family.id}",
            vae.label,
            lambda: _file_stamp(vae.path, vae.label),
            lambda: self._load_vae(vae, lease, self._configs / family.configs),
            loading,
        )
        try:
            yield VaeLease(
                vae=vae,
                module=kept.weights.components["vae"],
                sha256=self._submitted(vae.path, kept.stamp, self._hashes.sha256),
                scratch=kept.scratch,
            )
        finally:
            self._give_back(kept)

    def _give_back(self, kept: _Kept) -> None:
        with self._loading:
            kept.leases -= 1
            self._make_room()

    def drop_idle(self) -> None:
        """Drops everything that is not on loan and gives the memory back."""
        with self._loading:
            self._drop([name for name, kept in self._kept.items() if not kept.leases])
        release_memory()

    def unload_all(self) -> int:
        """Drops everything that is not on loan, pinned or not, and forgets what was pinned; how
        many bytes of weights that were."""
        before = self.ledger()
        self._pinned.clear()
        self.drop_idle()
        after = self.ledger()
        return before.ram_bytes + before.vram_bytes - after.ram_bytes - after.vram_bytes

    def pin(self, checkpoint_id: str, on: bool = True) -> None:
        """Keeps a checkpoint in memory once it is there, whatever else needs room, or no longer."""
        if on:
            self._pinned.add(checkpoint_id)
        else:
            self._pinned.discard(checkpoint_id)

    def ledger(self) -> Ledger:
        """What is held at this moment. Never waits for a load; for any thread."""
        holdings = tuple(
            Holding(
                id=hashlib.sha256(f"{name}.{part}.{kept.stamp}".encode()).hexdigest(),
                part=part,
                kind=type(module).__name__,
                checkpoints=(name,),
                size_bytes=size_of(module),
                tier="ram" if self.device.name == "cpu" else "device",
                leases=kept.leases,
                pinned=name in self._pinned,
                reload_s=kept.reload_s,
            )
            for name, kept in list(self._kept.items())
            for part, module in kept.weights.components.items()
            if isinstance(module, torch.nn.Module)
        )
        total = sum(holding.size_bytes for holding in holdings)
        on_cpu = self.device.name == "cpu"
        return Ledger(
            holdings=holdings,
            ram_budget_bytes=self.device.budget_bytes if on_cpu else 0,
            vram_budget_bytes=0 if on_cpu else self.device.budget_bytes,
            ram_bytes=total if on_cpu else 0,
            vram_bytes=0 if on_cpu else total,
        )

    def _take(
        self,
        key: str,
        label: str,
        stamp_of: Callable[[], Stamp],
        load: Callable[[], Weights],
        loading: Callable[[str], None],
    ) -> _Kept:
        """The entry of that key with one lease more, loaded if it is not there or not current."""
        with self._loading:
            stamp = stamp_of()
            kept = self._kept.get(key)
            if kept is None or kept.stamp != stamp:
                loading(f"Reading {label}")
                began = time.monotonic()
                kept = _Kept(weights=load(), stamp=stamp)
                kept.reload_s = time.monotonic() - began
                if stamp_of() != stamp:
                    raise Unavailable(
                        f"'{label}' changed while it was being read.",
                        "Wait until it has been copied completely, then try again.",
                    )
                self._kept[key] = kept
            self._kept.move_to_end(key)
            kept.leases += 1
            self._make_room()
            return kept

    def _load_control(self, control: ControlNet, unet: Any) -> Weights:
        try:
            net = load_control(control.path, unet)
            return settled({"controlnet": net}, self.device)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            log.exception("the ControlNet %s cannot be loaded", control.id)
            raise Unavailable(
                f"The ControlNet '{control.label}' cannot be loaded: its weights are not what they"
                " should be.",
                "Copy or download it again, or choose another one.",
            ) from error

    def _load_vae(self, vae: Vae, lease: Lease, configs: Path) -> Weights:
        try:
            own = lease.weights.components["vae"]
            return settled({"vae": load_vae(vae.path, own, configs)}, self.device)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            log.exception("the VAE %s cannot be used", vae.id)
            raise Unavailable(
                f"The VAE '{vae.label}' cannot be used with '{lease.checkpoint.label}': its "
                "weights or its latents are of another kind.",
                "Choose another VAE, or the checkpoint's own.",
            ) from error

    def _load_lora(self, lora: Lora) -> Weights:
        try:
            return settled({"lora": load_adapter(lora.path)}, self.device)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            if is_out_of_memory(error):
                raise
            log.exception("the LoRA %s cannot be loaded", lora.id)
            raise Unavailable(
                f"The LoRA '{lora.label}' cannot be loaded: its weights are not what they should "
                "be.",
                "Copy or download it again, or choose another one.",
            ) from error

    def _load(self, checkpoint: Checkpoint) -> Weights:
        family = families()[checkpoint.family]
        try:
            return load(checkpoint, family, self.device, self._configs)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the except block, since a traceback keeps the tensors of its frames.
        self._drop([name for name, kept in self._kept.items() if not kept.leases])
        release_memory()
        return load(checkpoint, family, self.device, self._configs)

    def _make_room(self) -> None:
        total = sum(kept.weights.size_bytes for kept in self._kept.values())
        newest = next(reversed(self._kept), None)
        for name, kept in list(self._kept.items()):
            if total <= self.device.budget_bytes:
                return
            if not kept.leases and name != newest and name not in self._pinned:
                total -= kept.weights.size_bytes
                self._drop([name])

    def _drop(self, names: list[str]) -> None:
        for name in names:
            del self._kept[name]
            log.info("dropped %s", name)

    def _digest(self, checkpoint: Checkpoint, stamp: Stamp) -> "Future[str]":
        return self._submitted(denoiser_file(checkpoint), stamp, self._hashes.sha256)

    def _submitted(self, file: Path, stamp: Stamp, digest: Callable[[Path], str]) -> "Future[str]":
        """A hash of a file, computed beside the painting the first time."""
        key = (str(file), stamp)
        if key not in self._digests:
            self._digests[key] = self._hashing.submit(digest, file)
        return self._digests[key]


def release_memory() -> None:
    """Gives freed memory back to the device's other users."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _stamp(checkpoint: Checkpoint) -> Stamp:
    if checkpoint.layout == "file":
        return _file_stamp(checkpoint.path, checkpoint.label)
    try:
        return folder_stamp(checkpoint.path)
    except OSError:
        raise _gone(checkpoint.label) from None


def _file_stamp(path: Path, label: str) -> Stamp:
    try:
        return file_stamp(path)
    except OSError:
        raise _gone(label) from None


def _gone(label: str) -> Unavailable:
    return Unavailable(f"'{label}' is no longer there.", "Choose another one.")
