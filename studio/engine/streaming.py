"""A network whose blocks are in memory one after another: each comes while the one before it computes,
and its place is taken by the one after the next.

The network is one job's own; what other jobs share is neither changed nor hooked. On a processor
blocks come from their files, on a GPU from the machine's memory, on a stream of its own.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from studio.costs.blocks import blocks_of
from studio.engine.skeletons import Skeleton, Slot, parameters
from studio.engine.slabs import Place, Slab, arranged, views

Wait = Callable[[], None]
"""Returns once tensors are filled, as far as work that is queued afterwards sees."""


class Supply(Protocol):
    """Where the tensors of blocks come from."""

    def fetch(self, into: Mapping[str, Tensor]) -> Wait:
        """Begins to fill tensors by name."""
        ...

    def close(self) -> None:
        """Returns once nothing is being filled any more, however it ended."""
        ...


@dataclass(frozen=True, slots=True)
class FromFiles:
    """Read by a thread of its own while the processor computes."""

    pour: Callable[[Mapping[str, Tensor]], None]
    """Fills tensors by name."""
    _reader: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="blocks")
    )

    def fetch(self, into: Mapping[str, Tensor]) -> Wait:
        return self._reader.submit(self._filled, into).result

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)

    def _filled(self, into: Mapping[str, Tensor]) -> None:
        with torch.inference_mode():  # as the thread does that made these tensors
            self.pour(into)


@dataclass(slots=True)
class FromMemory:
    """Copied from the machine's memory: beside the computing where that is on a GPU.

    Written against the documentation of CUDA; measured on a GPU only where the README says so.
    """

    host: Mapping[str, Tensor]
    _stream: Any = None

    def fetch(self, into: Mapping[str, Tensor]) -> Wait:
        if not next(iter(into.values())).is_cuda:
            return self._copied(into)
        self._stream = self._stream or torch.cuda.Stream()
        # what was computed with the block that lay there before must be over
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._copied(into)
            arrived = self._stream.record_event()
        return lambda: torch.cuda.current_stream().wait_event(arrived)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()

    def _copied(self, into: Mapping[str, Tensor]) -> Wait:
        for name, target in into.items():
            target.copy_(self.host[name], non_blocking=target.is_cuda)
        return lambda: None


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the network whose tensors come and go together."""

    module: torch.nn.Module
    slots: tuple[Slot, ...]
    places: Mapping[str, Place]
    """In a buffer, whichever holds it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Which tensors of a network come in blocks."""

    blocks: tuple[Block, ...]
    rest: Mapping[str, Place]
    """Of what stays, in memory of its own."""
    rest_bytes: int
    block_bytes: int
    """Of the largest block."""

    @property
    def size_bytes(self) -> int:
        """What is in memory at once."""
        return self.rest_bytes + self.block_bytes * min(2, len(self.blocks))


def cut(skeleton: Skeleton, places: Mapping[str, Place]) -> Cut:
    """A network whose tensors are of these shapes and number formats, in blocks."""
    sizes = {name: place.size_bytes for name, place in places.items()}
    blocks: list[Block] = []
    taken: set[str] = set()
    largest = 0
    for path in blocks_of(sizes):
        for name, module in _called(path, skeleton.module):
            inner = f"{name}."
            own = [  # tensors that others have too stay
                one
                for one in places
                if all(alias.startswith(inner) for alias in skeleton.aliases[one])
            ]
            if not own:
                continue
            found, size = _laid(own, places)
            slots = tuple(slot for slot in skeleton.slots if slot.name in found)
            blocks.append(Block(module, slots, found))
            taken.update(own)
            largest = max(largest, size)
    rest, size = _laid([name for name in places if name not in taken], places)
    return Cut(tuple(blocks), rest, size, largest)


def _laid(names: list[str], places: Mapping[str, Place]) -> tuple[dict[str, Place], int]:
    return arranged((name, places[name].shape, places[name].dtype) for name in names)


def _called(path: str, network: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The modules of a block that are called as such: lists are not, what is in them is."""
    try:
        module = network.get_submodule(path)
    except AttributeError:  # a number in the name of a tensor that no module has
        return []
    if not isinstance(module, torch.nn.ModuleList):
        return [(path, module)]
    inner = module.named_children()
    return [found for name, _ in inner for found in _called(f"{path}.{name}", network)]


class Streamed:
    """Keeps the blocks of one network coming. For one thread at a time."""

    def __init__(self, skeleton: Skeleton, pieces: Cut, supply: Supply, device: str) -> None:
        """Takes a skeleton that nobody else uses. Raises what reading does."""
        self.module = skeleton.module
        self.size_bytes = pieces.size_bytes
        self._supply = supply
        self._slots = skeleton.slots
        places = {name: place for block in pieces.blocks for name, place in block.places.items()}
        self._empty = _empty({**places, **pieces.rest})
        rest = views(_memory(pieces.rest_bytes, device), pieces.rest)
        supply.fetch(rest)()
        kept = parameters(rest)
        for slot in self._slots:
            _put(slot, kept.get(slot.name, self._empty[slot.name]))
        self._free = [
            _memory(pieces.block_bytes, device) for _ in range(min(2, len(pieces.blocks)))
        ]
        self._next: dict[int, Block] = {}
        """What came after a block the last time, by the id of that."""
        self._before: Block | None = None
        self._coming: tuple[Block, Tensor, Mapping[str, Tensor], Wait] | None = None
        for block in pieces.blocks:
            self._follow(block)

    def close(self) -> None:
        """Lets go of all memory, whatever became of what was brought ahead; the network must not be
        called any more."""
        self._supply.close()
        self._coming = None
        for slot in self._slots:
            _put(slot, self._empty[slot.name])
        self._free.clear()

    def _follow(self, block: Block) -> None:
        held: list[Tensor] = []

        def before(*_: Any) -> None:
            memory, tensors = self._brought(block)
            held.append(memory)
            for slot in block.slots:
                _put(slot, tensors[slot.name])
            self._look_ahead(block)

        def after(*_: Any) -> None:
            for slot in block.slots:
                _put(slot, self._empty[slot.name])
            self._free += held
            held.clear()

        block.module.register_forward_pre_hook(before)
        block.module.register_forward_hook(after, always_call=True)

    def _brought(self, block: Block) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self._before is not None:
            self._next[id(self._before)] = block
        self._before = block
        if self._coming is None or self._coming[0] is not block:
            self._give_up()
            self._fetch(block)
        assert self._coming is not None
        _, memory, tensors, wait = self._coming
        self._coming = None
        try:
            wait()
        except BaseException:
            self._free.append(memory)
            del wait  # it knows the error, which knows this frame: none would ever go
            raise
        return memory, parameters(tensors)

    def _look_ahead(self, block: Block) -> None:
        following = self._next.get(id(block))
        if following is not None and following is not block and self._free:
            self._fetch(following)

    def _fetch(self, block: Block) -> None:
        memory = self._free[-1]
        tensors = views(memory, block.places)
        self._coming = (block, memory, tensors, self._supply.fetch(tensors))
        self._free.pop()

    def _give_up(self) -> None:
        """What was brought ahead is not what comes next; how that ended is nobody's concern."""
        if self._coming is not None:
            _, memory, _, wait = self._coming
            self._coming = None
            with suppress(Exception):
                wait()
            self._free.append(memory)


def _put(slot: Slot, tensor: Tensor) -> None:
    slot.home[slot.leaf] = tensor.detach() if slot.is_buffer else tensor


def _empty(places: Mapping[str, Place]) -> dict[str, Tensor]:
    """What stands for tensors that are not there, in their shapes and number formats."""
    return parameters(
        {
            name: torch.empty(place.shape, dtype=place.dtype, device="meta")
            for name, place in places.items()
        }
    )


def _memory(size_bytes: int, device: str) -> Tensor:
    """Bytes [size_bytes] where the network computes. Raises as torch does where there are none."""
    if device == "cpu":
        return Slab(size_bytes).bytes
    return torch.empty(size_bytes, dtype=torch.uint8, device=device)
