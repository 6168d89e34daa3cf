"""Keeps checkpoints in memory and lends them out, a pipeline per job."""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from torch import Tensor

from studio.checkpoints.beside import Lent, stamp_of
from studio.checkpoints.catalog import Checkpoint, denoiser_file, families
from studio.checkpoints.controls import ControlNet, steering_of
from studio.checkpoints.hashes import Hashes
from studio.checkpoints.loras import Lora
from studio.checkpoints.scan import Stamp, file_stamp, folder_stamp
from studio.checkpoints.vaes import Vae
from studio.core.errors import InvalidRequest, StudioError, Unavailable
from studio.core.records import NOTHING
from studio.costs.anatomy import Exact
from studio.costs.blocks import resident
from studio.costs.plan import Kept
from studio.engine import controls
from studio.engine.adapters import Adapter, load_adapter
from studio.engine.autoencoders import load_vae
from studio.engine.contents import Contents
from studio.engine.converted import Converted
from studio.engine.device import Device, is_out_of_memory, release_memory
from studio.engine.layouts import Layouts
from studio.engine.ledger import Holding, Ledger, Tier
from studio.engine.leisure import Leisure, gently
from studio.engine.loading import (
    Manifest,
    Objects,
    Recipe,
    Weights,
    explained,
    manifest,
    pipeline,
    settled,
    single_network,
)
from studio.engine.packed import Packing, as_in_file, in_eight_bits
from studio.engine.reading import Feed
from studio.engine.schedulers import build
from studio.engine.selfcheck import SelfCheck
from studio.engine.skeletons import BUILDING, Skeleton, Skeletons
from studio.engine.slabs import CAN_MAP, Mapped, Slab, Window
from studio.engine.store import Check, Entry, Store, Want
from studio.engine.streaming import FromFiles, FromMemory, Streamed, cut
from studio.engine.weights import Blob
from studio.families._family import Role
from studio.samplers import ROWS

log = logging.getLogger("pochade.engine")

DENOISERS = ("unet", "transformer", "prior_prior", "decoder")
"""What pipelines call the network that a step calls."""
MAPPED_BYTES = 64 << 20
"""Weights from that size on stay in their file, where a processor can compute with what is there."""
TEXT = "text_encoder"
"""What is in the names that they have for those that read prompts."""

Told = Callable[[str], None]
"""Hears what is being done, as `Reading NAME`."""


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
    device: Device
    """As the checkpoint computes on it."""
    kept: Kept = "whole"
    """How the weights of its denoiser are in memory."""
    let_go: Callable[[str], None] = lambda part: None
    """Gives a network back before the end, as `text_encoder`: it must not be called any more."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What was found out about a file, or a folder, as long as it stays what it is."""

    stamp: Stamp
    manifest: Manifest
    wants: tuple[Want, ...]
    denoiser: Path | None = None
    """The file that tells a checkpoint from others."""
    ways: tuple[Kept, ...] = ("whole",)
    """How the weights of its denoisers can be kept."""


class _Stopped(Exception):
    """Ends a load that nobody waits for any more."""


class Manager:
    """Reads each network once and keeps it until its memory is needed for another.

    Checkpoints that share networks share their memory. Weights are only ever added to or dropped
    from memory, never changed, and never dropped while they are on loan. For any thread; but two
    jobs that use different weights of one architecture at once need a second skeleton, which takes
    the time to build it.
    """

    def __init__(
        self,
        device: Device,
        configs: Path,
        hashes: Hashes,
        cache: Path | None = None,
        converted_bytes: int | None = 0,
    ) -> None:
        """`cache` is a folder that remembers what files consist of; None remembers nothing. Weights
        in the numbers that they are computed with may take `converted_bytes` in there; None is a
        share of what is free."""
        self.device = device
        self._configs = configs
        self._hashes = hashes
        self._layouts = Layouts(cache / "layouts" if cache else None)
        self.leisure = Leisure()
        """What is done while nothing is on loan."""
        self._contents = Contents(cache / "components.json" if cache else None, self.leisure)
        converted = cache / "converted" if cache else None
        self._converted = Converted(converted, converted_bytes, self.leisure)
        self._objects = Objects()
        self._skeletons = Skeletons(device.name)
        self._store = Store(device, self._is_pinned, self._forget)
        self._known: dict[str, _Known] = {}
        self._exact: dict[str, tuple[Stamp, Exact]] = {}
        self._opening = threading.RLock()
        self._pinned: set[str] = set()
        self._used: dict[str, None] = {}
        """Ids of checkpoints in the order of their last use."""
        self._scratch: dict[tuple[str, ...], dict[str, Any]] = {}
        self._singles = count()
        """Tells leases of their own apart."""
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._reading_ahead = ThreadPoolExecutor(1, "ahead", initializer=gently)
        self._ahead: tuple[str, threading.Event] = ("", threading.Event())
        self._digests: dict[tuple[str, Stamp], Future[str]] = {}
        self._self_check = SelfCheck(self._store)

    @property
    def kept(self) -> tuple[str, ...]:
        """Ids of what is in memory as a whole, least recently used first."""
        return tuple(
            name
            for name in list(self._used)
            if (known := self._known.get(name))
            and all(self._store.held(want.key) for want in known.wants)
        )

    def ways(self, checkpoint: Checkpoint) -> tuple[Kept, ...]:
        """How the weights of its denoisers can be kept. Raises `Unavailable` if it cannot be read."""
        return self._opened(checkpoint).ways

    @property
    def sized(self) -> Mapping[str, Exact]:
        """Bytes of the checkpoints whose `sizes` were asked for, by id."""
        return {
            name: exact
            for name, (stamp, exact) in list(self._exact.items())
            if (known := self._known.get(name)) is not None and known.stamp == stamp
        }

    def sizes(self, checkpoint: Checkpoint) -> Exact:
        """Bytes of its parts in memory. Raises `Unavailable` if it cannot be read."""
        known = self._opened(checkpoint)
        stamp, exact = self._exact.get(checkpoint.id, (None, None))
        if exact is None or stamp != known.stamp:
            with explained(f"'{checkpoint.label}'", checkpoint.id):
                exact = self._sizes(known)
            self._exact[checkpoint.id] = known.stamp, exact
        return exact

    def _opened(self, checkpoint: Checkpoint) -> _Known:
        return self._current(
            checkpoint.id,
            f"'{checkpoint.label}'",
            lambda: _stamp(checkpoint),
            partial(self._open, checkpoint),
        )

    @contextmanager
    def use(
        self,
        checkpoint: Checkpoint,
        role: Role,
        *,
        loading: Told = lambda what: None,
        check: Check = lambda: None,
        extra: Mapping[str, Any] = NOTHING,
        kept: Kept = "whole",
    ) -> Generator[Lease]:
        """Lends a checkpoint; `loading` is told before weights are read, `check` may raise to end
        that. `extra` stands in for networks of the checkpoint, as another VAE does.

        `kept` is one of the checkpoint's `ways`. A denoiser that is kept in "blocks" is a network of
        this lease alone, for one thread at a time.

        Raises `InvalidRequest` if the family has no such role and `Unavailable` if it cannot be
        read; the store is then as it was.
        """
        kind = families()[checkpoint.family].pipelines.get(role)
        if kind is None:
            raise InvalidRequest(
                f"'{checkpoint.label}' cannot be used for this.", "Choose another checkpoint."
            )
        opened, label = partial(self._open, checkpoint), f"'{checkpoint.label}'"
        with ExitStack() as stack:
            lent = self._lent(
                checkpoint.id,
                label,
                lambda: _stamp(checkpoint),
                opened,
                loading=loading,
                check=check,
                kept=kept,
            )
            known, modules, entries = stack.enter_context(lent)
            for recipe in known.manifest.recipes if kept == "blocks" else ():
                if recipe.part in DENOISERS:
                    loading(f"Reading {checkpoint.label}")
                    entry = stack.enter_context(
                        self._in_blocks(checkpoint, recipe, known.stamp, check)
                    )
                    modules[recipe.part] = entry.blob.module.module
                    entries.append(entry)
            scheduler = build(ROWS[0], known.manifest.scheduler)
            weights = Weights(
                components={**known.manifest.objects, **modules},
                scheduler=known.manifest.scheduler,
                settings=known.manifest.settings,
                size_bytes=sum(entry.size_bytes for entry in entries),
            )
            let_go = stack.enter_context(self._released(entries))
            yield Lease(
                pipeline=pipeline(kind, weights, scheduler, extra),
                weights=weights,
                checkpoint=checkpoint,
                sha256=self.digest(
                    known.denoiser or checkpoint.path, known.stamp, self._hashes.sha256
                ),
                scratch=self._scratch.setdefault(tuple(entry.key for entry in entries), {}),
                device=self.device.painting(checkpoint.anatomy),
                kept=kept,
                let_go=let_go,
            )

    @contextmanager
    def _in_blocks(
        self, checkpoint: Checkpoint, recipe: Recipe, stamp: Stamp, check: Check
    ) -> Generator[Entry]:
        """A network of one lease alone whose blocks come one after another."""
        label = f"'{checkpoint.label}'"

        def unchanged() -> None:
            if _stamp(checkpoint) != stamp:
                raise _changed(label)

        with ExitStack() as stack:
            with explained(label, checkpoint.id):
                skeleton = self._skeletons.make(recipe.build)
                layout = recipe.layout(self._layouts, lambda: skeleton)
                places, _ = recipe.places(layout, lambda: skeleton)
                pieces = cut(skeleton, places)
                if self.device.name == "cpu":
                    feed = recipe.feed(layout, lambda: skeleton)
                    supply = FromFiles(partial(self._poured, label, checkpoint.id, feed, unchanged))
                else:
                    host = self._store.lease(
                        [self._want(recipe)], checkpoint.id, check=check, recent=False
                    )
                    [entry] = stack.enter_context(host)
                    if entry.blob.slab is not None:
                        self._store.uploads.pin(entry.blob.slab)
                    supply = FromMemory(entry.blob.host)

                def read(_slab: "Slab | None", _check: Check) -> Blob:
                    made = Streamed(skeleton, pieces, supply, self.device.name)
                    return Blob.of_module(
                        made, made.size_bytes, device=self.device.name, dropped=made.close
                    )

                name = f"{recipe.key} in blocks {next(self._singles)}"
                want = Want(
                    key=name,
                    part=recipe.part,
                    kind=recipe.kind,
                    group=name,
                    size_bytes=pieces.size_bytes,
                    read=read,
                )
                one = stack.enter_context(self._store.lend_once(want, checkpoint.id, check))
            yield one

    def _poured(
        self,
        label: str,
        name: str,
        feed: Feed,
        unchanged: Callable[[], None],
        into: Mapping[str, Tensor],
    ) -> None:
        """Fills tensors out of files that must be what they were when the lease began."""
        with explained(label, name):
            feed.pour(into, unchanged)

    @contextmanager
    def use_control(
        self,
        control: ControlNet,
        lease: Lease,
        *,
        loading: Told = lambda what: None,
    ) -> Generator[Any]:
        """Lends a ControlNet for a checkpoint on loan.

        Raises `InvalidRequest` if it was made for another kind, `Unavailable` if it cannot be read.
        """
        control.require_fits(lease.checkpoint)
        steering = steering_of(control)
        config = dict(lease.weights.components[steering.part].config)

        def recipe() -> Recipe:
            return single_network(
                control.path,
                "controlnet",
                steering.network_of(control.types),
                lambda shapes: controls.control_config(steering, control.path, shapes, config),
                lease.device,
                controls.converted,
            )

        label = f"The ControlNet '{control.label}'"
        with self.lend(
            f"controlnet:{control.id}", label, control.path, recipe, lease.device, loading=loading
        ) as net:
            yield net

    @contextmanager
    def use_lora(
        self, lora: Lora, lease: Lease, *, loading: Told = lambda what: None
    ) -> Generator[LoraLease]:
        """Lends a LoRA for a checkpoint on loan. Raises `Unavailable` if it cannot be read."""
        label = f"The LoRA '{lora.label}'"

        def read() -> Mapping[str, Any]:
            return {"lora": load_adapter(lora.path)}

        with self.use_networks(
            f"lora:{lora.id}", label, lora.path, read, lease, loading=loading
        ) as networks:
            yield LoraLease(
                lora=lora,
                adapter=networks["lora"],
                sha256=self.digest(lora.path, _file_stamp(lora.path, label), self._hashes.tensors),
            )

    @contextmanager
    def lend(
        self,
        name: str,
        label: str,
        path: Path,
        recipe: Callable[[], Recipe],
        device: Device,
        *,
        loading: Told = lambda what: None,
    ) -> Generator[Any]:
        """Lends one network of a file, such as a VAE: read by `recipe` (see `loading.single`) for that
        device, kept, shared and dropped as those of checkpoints are.

        `name` tells it from everything else, `label` begins a sentence about it. Raises
        `Unavailable`.
        """

        def opened(stamp: Stamp) -> _Known:
            one = recipe()
            alone = Manifest(recipes=(one,), objects={}, scheduler={}, settings={})
            return _Known(stamp=stamp, manifest=alone, wants=(self._want(one),))

        stamp = partial(_computed, path, label, device)
        with self._lent(name, label, stamp, opened, loading=loading) as (
            _,
            modules,
            _entries,
        ):
            yield next(iter(modules.values()))

    @contextmanager
    def use_networks(
        self,
        key: str,
        label: str,
        path: Path,
        read: Callable[[], Mapping[str, Any]],
        lease: Lease,
        *,
        loading: Told = lambda what: None,
    ) -> Generator[Mapping[str, Any]]:
        """Lends what `read` makes of a file for a checkpoint on loan; `key` names it among everything
        that is kept. For what is small, or no network of a library's: each has its own tensors and
        shares none.

        Raises `Unavailable` if it cannot be read.
        """

        with self._made(key, label, path, read, lease.device, loading) as (entry, _):
            yield entry.blob.module.components

    @contextmanager
    def use_vae(
        self, vae: Vae, lease: Lease, *, loading: Told = lambda what: None
    ) -> Generator[VaeLease]:
        """Lends an autoencoder to be used instead of the one of a checkpoint on loan.

        Raises `InvalidRequest` if its latents are of another kind, `Unavailable` if it cannot be
        read.
        """
        family = families()[lease.checkpoint.family]
        own, configs = lease.weights.components["vae"], self._configs / family.configs

        def read() -> Mapping[str, Any]:
            try:
                return {"vae": load_vae(vae.path, own, configs)}
            except (
                OSError,
                ValueError,
                LookupError,
                RuntimeError,
                TypeError,
                SafetensorError,
            ) as error:
                if is_out_of_memory(error):
                    raise
                log.exception("the VAE %s cannot be used", vae.id)
                raise Unavailable(
                    f"The VAE '{vae.label}' cannot be used with '{lease.checkpoint.label}': its "
                    "weights or its latents are of another kind.",
                    "Choose another VAE, or the checkpoint's own.",
                ) from error

        key = f"vae:{vae.id}@{family.id}"
        with self._made(key, vae.label, vae.path, read, lease.device, loading) as (entry, stamp):
            yield VaeLease(
                vae=vae,
                module=entry.blob.module.components["vae"],
                sha256=self.digest(vae.path, stamp, self._hashes.sha256),
                scratch=self._scratch.setdefault((entry.key,), {}),
            )

    @contextmanager
    def _made(
        self,
        key: str,
        label: str,
        path: Path,
        read: Callable[[], Mapping[str, Any]],
        device: Device,
        loading: Told,
    ) -> Generator[tuple[Entry, Stamp]]:
        """What `read` makes of a file for that device, and what the file was like then."""

        def made(_slab: "Slab | None", _check: Check) -> Blob:
            with BUILDING:
                weights = settled(read(), device)
            return Blob.of_module(weights, weights.size_bytes, device=self.device.name)

        def opened(stamp: Stamp) -> _Known:
            name = _key(key, str(stamp))
            want = Want(key=name, part=key, kind="", group=name, size_bytes=0, read=made)
            alone = Manifest(recipes=(), objects={}, scheduler={}, settings={})
            return _Known(stamp=stamp, manifest=alone, wants=(want,))

        named = label if "'" in label else f"'{label}'"
        stamp = partial(_computed, path, named, device)
        with self._lent(key, named, stamp, opened, loading=loading) as (
            known,
            _modules,
            entries,
        ):
            yield entries[0], known.stamp

    def prefetch(self, checkpoint: Checkpoint) -> None:
        """Reads a checkpoint that will be wanted soon, in the background and only into memory that
        nobody needs; one that is being read for an earlier hint is given up. Raises nothing."""
        self._give_up(checkpoint.id)
        stop = threading.Event()
        self._ahead = (checkpoint.id, stop)
        self._reading_ahead.submit(self._fetch, checkpoint, stop)

    def drop_idle(self) -> None:
        """Drops everything that is not on loan and gives the memory back."""
        self._give_up("")
        self._store.drop_idle()
        self._self_check.look()

    def end(self) -> None:
        """Nothing half-written stays behind when the process exits after this."""
        self._converted.end()

    def unload_all(self) -> int:
        """Drops everything that is not on loan, pinned or not, and forgets what was pinned; how
        many bytes of weights that were."""
        before = self._store.ram_bytes + self._store.vram_bytes
        self._pinned.clear()
        self.drop_idle()
        return before - self._store.ram_bytes - self._store.vram_bytes

    def pin(self, checkpoint_id: str, on: bool = True) -> None:
        """Keeps a checkpoint in memory once it is there, whatever else needs room, or no longer."""
        if on:
            self._pinned.add(checkpoint_id)
        else:
            self._pinned.discard(checkpoint_id)

    def ledger(self) -> Ledger:
        """What is held at this moment. Never waits for a load; for any thread."""
        held = self._store.rows()
        holdings = [
            Holding(
                id=entry.id,
                part=entry.part,
                kind=entry.kind,
                checkpoints=tuple(sorted(entry.holders)),
                size_bytes=entry.size_bytes,
                tier=self._tier(entry),
                mapped=entry.blob.is_mapped,
                leases=entry.leases,
                pinned=self._is_pinned(entry),
                reload_s=round(entry.reload_s, 3),
            )
            for entry in held
        ]
        return Ledger(
            holdings=tuple(holdings),
            whole=self.kept,
            ram_budget_bytes=self.device.ram_budget_bytes,
            vram_budget_bytes=self.device.vram_budget_bytes,
            ram_bytes=sum(entry.blob.ram_bytes for entry in held),
            vram_bytes=sum(entry.blob.vram_bytes for entry in held),
            converted_bytes=self._converted.size_bytes,
        )

    def digest(self, file: Path, stamp: Stamp, of: Callable[[Path], str]) -> "Future[str]":
        """A hash of a file, computed beside the painting the first time."""
        key = (f"{of.__name__} {file}", stamp)
        if key not in self._digests:
            self._digests[key] = self._hashing.submit(of, file)
        return self._digests[key]

    # From here on: how it is done.

    @contextmanager
    def _lent(
        self,
        name: str,
        label: str,
        stamp_of: Callable[[], Stamp],
        opened: Callable[[Stamp], _Known],
        *,
        loading: Told,
        check: Check = lambda: None,
        kept: Kept = "whole",
    ) -> Generator[tuple[_Known, dict[str, Any], list[Entry]]]:
        """The networks of a file, by part, for as long as the block runs; denoisers that are kept in
        blocks are not among them. Those that are kept in another way than whole are not kept any
        longer than that, since no job may count on them."""
        known = self._current(name, label, stamp_of, opened)
        with explained(label, name):
            recipes, wants = self._kept(known, kept)
        if any(self._store.held(want.key) is None for want in wants):
            self._give_up(name)
        plain = label.partition("'")[2].rpartition("'")[0]
        with ExitStack() as stack:
            owned = self._store.owned(name)
            try:
                with explained(label, name):
                    read_before = self._store.swaps
                    lease = self._store.lease(
                        wants, name, told=lambda: loading(f"Reading {plain}"), check=check
                    )
                    entries = stack.enter_context(lease)
            except StudioError:  # what a load that was stopped has read is there for the next one
                self._store.disown(name, but=owned)
                raise
            with explained(label, name):
                if self._store.swaps != read_before and stamp_of() != known.stamp:
                    self._known.pop(name, None)
                    self._store.disown(name)
                    raise _changed(label)
                self._used.pop(name, None)
                self._used[name] = None
                modules = {
                    recipe.part: stack.enter_context(self._worn(recipe, entry))
                    for recipe, entry in zip(recipes, entries, strict=False)
                }
            try:
                yield known, modules, entries
                if any(entry.blob.is_changed for entry in entries):
                    raise _overwritten(label)
            finally:
                packed = {recipe.part for recipe in recipes if recipe.packings}
                self._store.leave(name, [e for e in entries if e.part in packed])
        self._contents.found_out_later(entries, self._store)
        self._converted.keep_later(entries, self._store)
        self._self_check.look()

    def _current(
        self,
        name: str,
        label: str,
        stamp_of: Callable[[], Stamp],
        opened: Callable[[Stamp], _Known],
    ) -> _Known:
        """What is known of a file, found out again if it is not what it was."""
        stamp = stamp_of()
        known = self._known.get(name)
        if known is not None and known.stamp == stamp:
            return known
        with self._opening:
            known = self._known.get(name)
            if known is not None and known.stamp == stamp:
                return known
            with explained(label, name):
                fresh = opened(stamp)
            if known is not None:
                self._store.disown(name)
            self._known[name] = fresh
            return fresh

    def _open(self, checkpoint: Checkpoint, stamp: Stamp) -> _Known:
        family = families()[checkpoint.family]
        device = self.device.painting(checkpoint.anatomy)
        found = manifest(checkpoint, family, device, self._configs, self._objects)
        wants = tuple(self._want(recipe) for recipe in found.recipes)
        return _Known(
            stamp=stamp,
            manifest=found,
            wants=wants,
            denoiser=denoiser_file(checkpoint),
            ways=self._ways(found),
        )

    def _sizes(self, known: _Known) -> Exact:
        denoiser: dict[Kept, int] = {}
        text: dict[Kept, int] = {}
        for kept in known.ways:
            _, wants = self._kept(known, kept)
            denoiser[kept] = sum(want.size_bytes for want in wants if want.part in DENOISERS)
            text[kept] = sum(want.size_bytes for want in wants if TEXT in want.part)
        if "blocks" in known.ways:
            recipes = (one for one in known.manifest.recipes if one.part in DENOISERS)
            denoiser["blocks"] = sum(map(self._at_once, recipes))
        whole = sum(want.size_bytes for want in known.wants)
        return Exact(denoiser=denoiser, text=text, rest=whole - denoiser["whole"] - text["whole"])

    def _at_once(self, recipe: Recipe) -> int:
        """Bytes of a network whose blocks come one after another."""

        def skeleton() -> Skeleton:
            return self._skeleton(recipe)

        places, _ = recipe.places(recipe.layout(self._layouts, skeleton), skeleton)
        return resident({name: place.size_bytes for name, place in places.items()})

    def _ways(self, found: Manifest) -> tuple[Kept, ...]:
        """What only a converter can make it makes as a whole; once it is in memory, blocks of it are
        as good as any."""
        layouts = (
            recipe.layout(self._layouts, partial(self._skeleton, recipe))
            for recipe in found.recipes
            if recipe.part in DENOISERS
        )
        if all(layout is not None for layout in layouts):
            return get_args(Kept)
        return ("whole",) if self.device.name == "cpu" else ("whole", "blocks")

    def _kept(self, known: _Known, kept: Kept) -> tuple[Sequence[Recipe], Sequence[Want]]:
        """What is read of a file, where the weights of denoisers are kept in some way; those of text
        encoders stay as packed as in their files in all ways but whole."""
        if kept == "whole":
            return known.manifest.recipes, known.wants
        if kept not in known.ways:
            raise ValueError(f"weights that cannot be kept in the way '{kept}'")
        recipes: list[Recipe] = []
        wants: list[Want] = []
        for recipe, want in zip(known.manifest.recipes, known.wants, strict=True):
            denoises = recipe.part in DENOISERS
            if denoises and kept == "blocks":
                continue
            packings: Mapping[str, Packing] = {}
            if denoises or TEXT in recipe.part:
                packings = self._packings(recipe, in_file=kept == "packed" or not denoises)
            recipes.append(recipe.packed(packings) if packings else recipe)
            wants.append(self._want(recipes[-1]) if packings else want)
        return recipes, wants

    def _packings(self, recipe: Recipe, *, in_file: bool) -> Mapping[str, Packing]:
        """Its weights as packed as in their file, or else in 8 bits; none that only a converter can
        make."""

        def skeleton() -> Skeleton:
            return self._skeleton(recipe)

        layout = recipe.layout(self._layouts, skeleton)
        if layout is None:
            return {}
        if in_file:
            return as_in_file(recipe.sources, layout, skeleton(), recipe.dtype)
        return in_eight_bits(skeleton())

    def _want(self, recipe: Recipe) -> Want:
        def skeleton() -> Skeleton:
            return self._skeleton(recipe)

        layout = recipe.layout(self._layouts, skeleton)
        places, size = recipe.places(layout, skeleton)
        feed = recipe.feed(layout, skeleton)

        may_stay = size >= MAPPED_BYTES and CAN_MAP and self.device.name == "cpu"

        @cache
        def in_file() -> Mapping[str, Window] | None:
            return feed.windows(places) if may_stay else None

        def mapped(check: Check) -> "Slab | None":
            if (windows := in_file()) is None:
                content = self._contents.get(recipe.key) if may_stay else None
                return self._converted.mapped(content, places, size, check)
            try:
                return Mapped(windows, places, size, check)
            except OSError as error:  # not every file system can
                log.info("%s is copied instead of mapped: %s", recipe.part, error)
                return None

        def read(spare: "Slab | None", check: Check) -> Blob:
            there = mapped(check)
            slab = there or spare or Slab(size)
            self._self_check.follow(slab, recipe.part)
            files = recipe.sources.files if may_stay and there is None else ()
            blob = Blob(slab, places, device=self.device.name, converted_from=files)
            if there is None:
                feed.pour(blob.host, check)
            return blob

        return Want(
            key=recipe.key,
            part=recipe.part,
            kind=recipe.kind,
            group=recipe.group,
            size_bytes=size,
            read=read,
            same=lambda blob: blob.places == places and feed.equals(blob.host),
            content=lambda: self._contents.get(recipe.key),
        )

    def _skeleton(self, recipe: Recipe) -> Skeleton:
        """Some skeleton for it, to look at."""
        with self._store.lock:
            found = self._skeletons.known(recipe.group)
        return found or self._added(recipe)

    @contextmanager
    def _released(self, entries: list[Entry]) -> Generator[Callable[[str], None]]:
        """What gives single networks of a lease back before its end."""
        gone: list[Entry] = []

        def let_go(part: str) -> None:
            for entry in entries:
                if entry.part == part and entry not in gone:
                    gone.append(entry)
                    if self._store.let_go(entry):
                        with self._store.lock:
                            self._skeletons.strip(entry.key)
                        release_memory()

        try:
            yield let_go
        finally:
            self._store.return_to(gone)

    def _added(self, recipe: Recipe) -> Skeleton:
        made = self._skeletons.make(recipe.build)
        with self._store.lock:
            self._skeletons.add(recipe.group, made)
        return made

    @contextmanager
    def _worn(self, recipe: Recipe, entry: Entry) -> Generator[torch.nn.Module]:
        """The network over these weights. Weights of another checkpoint that are on loan keep their
        skeleton; a second one is built then."""
        skeleton = None
        while skeleton is None:
            with self._store.lock:
                skeleton = self._skeletons.take(recipe.group, entry.key, entry.blob.bound)
            if skeleton is None:
                self._added(recipe)
        try:
            yield skeleton.module
        finally:
            with self._store.lock:
                self._skeletons.give_back(recipe.group, skeleton)

    def _fetch(self, checkpoint: Checkpoint, stop: threading.Event) -> None:
        def check() -> None:
            if stop.is_set():
                raise _Stopped

        try:
            check()
            known = self._known_without_building(checkpoint)
            missing = [w for w in known.wants if not self._store.held(w.key)] if known else []
            if known is None or not self._has_room(sum(want.size_bytes for want in missing)):
                _into_page_cache(checkpoint)
                return
            with self._store.lease(known.wants, checkpoint.id, check=check, recent=False):
                pass
        except (_Stopped, StudioError, OSError):
            return
        except Exception:
            log.exception("reading %s ahead failed; whoever asks for it reads it", checkpoint.id)

    def _known_without_building(self, checkpoint: Checkpoint) -> _Known | None:
        """None where a network would have to be built to know which bytes are whose."""
        stamp = _stamp(checkpoint)
        known = self._known.get(checkpoint.id)
        if known is not None and known.stamp == stamp:
            return known
        family = families()[checkpoint.family]
        device = self.device.painting(checkpoint.anatomy)
        found = manifest(checkpoint, family, device, self._configs, self._objects)
        if not all(recipe.is_known(self._layouts) for recipe in found.recipes):
            return None
        return self._opened(checkpoint)

    def _has_room(self, size_bytes: int) -> bool:
        """Whether so much fits beside what is on loan or pinned."""
        stays = (e for e in self._store.rows() if e.leases or self._is_pinned(e))
        needed = sum(entry.blob.ram_bytes for entry in stays) + size_bytes
        return needed <= self.device.ram_budget_bytes

    def _give_up(self, wanted: str) -> None:
        """Ends reading ahead, unless it is for that checkpoint."""
        name, stop = self._ahead
        if name != wanted:
            stop.set()

    def _tier(self, entry: Entry) -> Tier:
        return "device" if entry.blob.vram_bytes else "ram"

    def _is_pinned(self, entry: Entry) -> bool:
        return not entry.holders.isdisjoint(self._pinned)

    def _forget(self, entry: Entry) -> None:
        self._skeletons.forget(entry.key)
        for keys in [keys for keys in self._scratch if entry.key in keys]:
            del self._scratch[keys]


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _into_page_cache(checkpoint: Checkpoint) -> None:
    """Asks the system to read the files; it does so when it has the time, and the memory."""
    if not hasattr(os, "posix_fadvise"):
        return
    path = checkpoint.path
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    for file in files:
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _stamp(checkpoint: Checkpoint) -> Stamp:
    label = f"'{checkpoint.label}'"
    if checkpoint.layout == "file":
        own = _file_stamp(checkpoint.path, label)
        return own + tuple(one for lent in checkpoint.lent for one in _lent_stamp(lent, label))
    try:
        return folder_stamp(checkpoint.path)
    except OSError:
        raise _gone(label) from None


def _lent_stamp(lent: Lent, label: str) -> Stamp:
    try:
        return stamp_of(lent.offer)
    except OSError:
        raise Unavailable(
            f"What {label} borrows from '{lent.offer.name}' is no longer there.",
            "Put it back, or choose another one.",
        ) from None


def _file_stamp(path: Path, label: str) -> Stamp:
    try:
        return file_stamp(path)
    except OSError:
        raise _gone(label) from None


def _computed(path: Path, label: str, device: Device) -> Stamp:
    """Of a file, and of what is made of its numbers."""
    return (*_file_stamp(path, label), (device.machine.dtype, 0, 0))


def _overwritten(label: str) -> Unavailable:
    return Unavailable(
        f"{label} was overwritten while it was used, so these pictures may not be its own.",
        "Wait until it has been copied completely, then paint them again.",
    )


def _changed(label: str) -> Unavailable:
    return Unavailable(
        f"{label} changed while it was being read.",
        "Wait until it has been copied completely, then try again.",
    )


def _gone(label: str) -> Unavailable:
    return Unavailable(f"{label} is no longer there.", "Choose another one.")
