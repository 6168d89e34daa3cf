"""What LoRA and its kin add to a layer: each kind's tensors, made into something that is called
beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from studio.checkpoints.adapters import kind_of
from studio.engine import turns

Rows = tuple[slice, ...]
"""Of a matrix, one after the other."""


class Inseparable(ValueError):
    """What was made for several layers joined into one cannot be shared out among them."""


class Addition(torch.nn.Module, ABC):
    """What one adapter adds to one layer, at strength 1."""

    @abstractmethod
    def fits(self, layer: torch.nn.Module) -> bool:
        """Whether it was made for a layer of that shape."""

    @abstractmethod
    def forward(self, layer: Any, x: Tensor) -> Tensor:
        """What is added to `layer(x)`."""

    @abstractmethod
    def rows(self, rows: Rows, of: int) -> "Addition":
        """The part of it that goes to a layer with these of the `of` rows that it was made for.

        Raises `ValueError` if it was made for another number, `Inseparable` if it cannot be shared out.
        """


class _Change(Addition):
    """One that stands for another weight of the layer."""

    @abstractmethod
    def change(self, layer: Any) -> Tensor:
        """What it adds to the layer's weight, in the weight's shape."""


class _LowRank(_Change):
    """LoRA: down to a few channels and up again; LoCon for convolutions."""

    down: Tensor
    up: Tensor
    mid: Tensor | None

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("down", tensors["down"])
        self.register_buffer("up", tensors["up"])
        self.register_buffer("mid", tensors.get("mid"))
        self.scale = _scale(tensors, tensors["down"].shape[0])

    def fits(self, layer: torch.nn.Module) -> bool:
        wide, tall = shape_of(layer)[1], shape_of(layer)[0]
        return (self.down.shape[1], self.up.shape[0]) == (wide, tall)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        down, up = self.down, self.up
        x = x.to(down.dtype)
        if not isinstance(layer, torch.nn.Conv2d):
            return (
                functional.linear(functional.linear(x, down.flatten(1)), up.flatten(1)) * self.scale
            )
        down, up = _four(down), _four(up)
        if self.mid is None:
            narrow = _convolved(layer, x, down)
        else:
            narrow = _convolved(layer, functional.conv2d(x, down), self.mid)
        return functional.conv2d(narrow, up) * self.scale

    def rows(self, rows: Rows, of: int) -> "_LowRank":
        if self.up.shape[0] != of:
            raise ValueError("it has another number of rows")
        part = copy(self)
        part._buffers = {**self._buffers, "up": _picked(self.up, rows)}
        return part

    def change(self, layer: Any) -> Tensor:
        down, up = self.down.float(), self.up.float().flatten(1)
        if self.mid is None:
            made = up @ down.flatten(1)
        else:
            made = torch.einsum("or,rmhw,mi->oihw", up, self.mid.float(), down.flatten(1))
        return made.reshape(shape_of(layer)) * self.scale


class _Product(_Change):
    """LoHa and LoKr, whose change of the weights is made of small factors each time, and the
    difference of a layer as it is."""

    def __init__(self, kind: str, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.kind = kind
        names = [name for name in tensors if name.startswith(("hada_", "lokr_", "diff"))]
        for name in names:
            self.register_buffer(name, tensors[name])
        small = {"LoHa": ("hada_w1_b",), "LoKr": ("lokr_w2_b", "lokr_w1_b")}.get(kind, ())
        ranks = [tensors[name].shape[0] for name in small if name in tensors]
        self.scale = _scale(tensors, ranks[0]) if ranks else 1.0
        self.own: Rows = ()
        """Rows that are added, where it was made for more than the layer has."""
        self.of = 0

    def fits(self, layer: torch.nn.Module) -> bool:
        bias = self._buffers.get("diff_b")
        tall = shape_of(layer)[0]
        whole = (self.of if self.own else tall) * shape_of(layer)[1:].numel()
        return self._weight().numel() == whole and (bias is None or bias.numel() == tall)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        weight = self.change(layer)
        x, bias = x.to(weight.dtype), self._buffers.get("diff_b")
        if isinstance(layer, torch.nn.Conv2d):
            return _convolved(layer, x, weight, bias)
        return functional.linear(x, weight, bias)

    def rows(self, rows: Rows, of: int) -> "_Product":
        """Its factors cannot be shared out, so that each part multiplies them for itself."""
        part = copy(self)
        part.own, part.of = rows, of
        bias = self._buffers.get("diff_b")
        if bias is not None:
            part._buffers = {**self._buffers, "diff_b": _picked(bias, rows)}
        return part

    def change(self, layer: Any) -> Tensor:
        weight = self._weight() * self.scale
        if not self.own:
            return weight.reshape(shape_of(layer))
        return _picked(weight.reshape(self.of, *shape_of(layer)[1:]), self.own)

    def _weight(self) -> Tensor:
        match self.kind:
            case "LoHa":
                return self._factor("hada_w1", "hada_t1") * self._factor("hada_w2", "hada_t2")
            case "LoKr":
                one, two = self._factor("lokr_w1", ""), self._factor("lokr_w2", "lokr_t2")
                return torch.kron(one.reshape(*one.shape, *[1] * (two.ndim - one.ndim)), two)
            case _:
                return self._buffers["diff"]  # type: ignore[return-value]

    def _factor(self, name: str, core: str) -> Tensor:
        held: dict[str, Any] = self._buffers
        if name in held:
            return held[name]
        outer, inner = held[f"{name}_a"], held[f"{name}_b"]
        if core not in held:
            return outer @ inner.flatten(1)
        return torch.einsum("ijkl,jr,ip->prkl", held[core], inner, outer)


class _Scaled(Addition):
    """(IA)³: inputs or outputs of a layer, each scaled by a number of its own."""

    by: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.register_buffer("by", tensors["scale"].flatten())
        self.on_input = bool(tensors["on_input"])

    def fits(self, layer: torch.nn.Module) -> bool:
        return self.by.numel() == shape_of(layer)[1 if self.on_input else 0]

    def rows(self, rows: Rows, of: int) -> "_Scaled":
        if self.on_input:
            return self
        if self.by.numel() != of:
            raise ValueError("it has another number of rows")
        part = copy(self)
        part._buffers = {"by": _picked(self.by, rows)}
        return part

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        by = _along(layer, self.by)
        return _unbiased(layer, x * by) if self.on_input else _unbiased(layer, x) * by


class _Decomposed(Addition):
    """DoRA: the changed weight, each row or column of it brought to a length of its own.

    The weight itself is never made: a row's length scales an output, a column's an input. Only the
    lengths ask for it, once as long as the layer's weights stay in memory.
    """

    lengths: Tensor

    def __init__(self, inner: _Change, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.inner = inner
        lengths = tensors["magnitude" if "magnitude" in tensors else "dora_scale"]
        self.register_buffer("lengths", lengths.flatten())
        # PEFT has lengths of rows however they are shaped, LyCORIS [rows, 1, …] or [1, columns, …]
        self.by_row = "magnitude" in tensors or lengths.ndim < 2 or lengths.shape[1] == 1
        self._known = WeakIdKeyDictionary()

    def fits(self, layer: torch.nn.Module) -> bool:
        wanted = shape_of(layer)[0 if self.by_row else 1]
        return self.inner.fits(layer) and self.lengths.numel() == wanted

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        by = _along(layer, self._factors(layer).to(x.dtype))
        if self.by_row:
            return _unbiased(layer, x) * (by - 1) + self.inner(layer, x) * by
        return _unbiased(layer, x * (by - 1)) + self.inner(layer, x * by)

    def rows(self, rows: Rows, of: int) -> "_Decomposed":
        if not self.by_row or self.lengths.numel() != of:
            # a column's length is that of all rows together, which no single layer has
            raise Inseparable("its columns cannot be shared out")
        part = copy(self)
        part._buffers = {"lengths": _picked(self.lengths, rows)}
        part._modules = {"inner": self.inner.rows(rows, of)}
        part._known = WeakIdKeyDictionary()
        return part

    def _factors(self, layer: Any) -> Tensor:
        """By what each row or column of the changed weight is multiplied."""
        held = layer._parameters.get("weight", layer._buffers.get("weight"))  # packed, a buffer
        if held not in self._known:
            whole = layer.weight.detach().float() + self.inner.change(layer).float()
            rows = whole if self.by_row else whole.transpose(0, 1)
            lengths = rows.flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
            self._known[held] = self.lengths.float() / lengths
        return self._known[held]


class _General(Addition):
    """GLoRA: a LoRA beside the layer, and one before it, which adds to what the layer looks at."""

    down: Tensor
    up: Tensor

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        up, down = "a1", "a2"
        own = {"up": tensors["b1"], "down": tensors["b2"]}
        if not _narrow(tensors, up, down):
            # LyCORIS before version 2 has them the other way round
            up, down = down, up
            own = {"up": tensors["b2"], "down": tensors["b1"]}
            if not _narrow(tensors, up, down):
                raise ValueError("its matrices do not go together")
        more = {new: tensors[old] for new, old in _BESIDE.items() if old in tensors}
        self.beside = _LowRank({**own, **more})
        self.register_buffer("up", tensors[up])
        self.register_buffer("down", tensors[down])

    def fits(self, layer: torch.nn.Module) -> bool:
        wide = shape_of(layer)[1]
        before = (self.up.shape[0], self.down.shape[1]) == (wide, wide)
        return before and _is_small(self.down) and self.beside.fits(layer)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        own = x.to(self.down.dtype)
        if isinstance(layer, torch.nn.Conv2d):
            seen = functional.conv2d(functional.conv2d(own, _four(self.down)), _four(self.up))
        else:
            down, up = self.down.flatten(1), self.up.flatten(1)
            seen = functional.linear(functional.linear(own, down), up)
        bent = _unbiased(layer, (seen * self.beside.scale).to(x.dtype))
        return bent + self.beside(layer, x).to(bent.dtype)

    def rows(self, rows: Rows, of: int) -> "_General":
        part = copy(self)
        part._modules = {"beside": self.beside.rows(rows, of)}
        return part


_BESIDE = {"mid": "bm", "alpha": "alpha"}


def _narrow(tensors: Mapping[str, Tensor], up: str, down: str) -> bool:
    """Whether all four of GLoRA's matrices are of one rank if these two go up and down."""
    pairs = ((up, down), (up.replace("a", "b"), down.replace("a", "b")))
    ranks = {n for a, b in pairs for n in (tensors[a].shape[1], tensors[b].shape[0])}
    return len(ranks) == 1


def _is_small(weight: Tensor) -> bool:
    """Whether a convolution with it looks at one pixel at a time."""
    return weight.ndim == 2 or set(weight.shape[2:]) == {1}


class _Turned(Addition):
    """OFT: a layer's rows or inputs, turned in blocks; and each row, as long as before or scaled."""

    scales: Tensor | None

    def __init__(
        self, turns: Sequence[Tensor], scales: Tensor | None, *, on_input: bool, shared: bool
    ) -> None:
        """`turns` as in `turns`, for rows or inputs that follow each other. `shared`: a single block may
        be meant for all of them."""
        super().__init__()
        self.count = len(turns)
        for number, turn in enumerate(turns):
            self.register_buffer(f"turn_{number}", turn)
        self.register_buffer("scales", None if scales is None else scales.flatten())
        self.on_input = on_input
        self.shared = shared and len(turns) == 1 and len(turns[0]) == 1

    @property
    def turns(self) -> list[Tensor]:
        return [cast(Tensor, self._buffers[f"turn_{number}"]) for number in range(self.count)]

    def fits(self, layer: torch.nn.Module) -> bool:
        tall, wide, *kernel = shape_of(layer)
        turned = wide if self.on_input else tall
        whole = sum(turn.shape[0] * turn.shape[1] for turn in self.turns)
        alike = turned % whole == 0 if self.shared else turned == whole
        one = not self.on_input or set(kernel) <= {1}
        return alike and one and (self.scales is None or self.scales.numel() == tall)

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        if not self.on_input:
            made = _unbiased(layer, x).to(self.turns[0].dtype)
            turned = self._turned(layer, made)
            if self.scales is None:
                return turned
            by = _along(layer, self.scales)
            return turned * by + made * (by - 1)
        turned = self._turned(layer, x.to(self.turns[0].dtype)).to(x.dtype)
        if self.scales is None:
            return _unbiased(layer, turned)
        by = _along(layer, self.scales)
        return _unbiased(layer, x + turned) * by - _unbiased(layer, x)

    def rows(self, rows: Rows, of: int) -> "_Turned":
        if self.on_input and self.scales is None:
            return self
        begin, turns = 0, dict[int, Tensor]()
        for turn in self.turns:
            turns |= {begin + at * turn.shape[1]: one for at, one in enumerate(turn)}
            begin += turn.shape[0] * turn.shape[1]
        part = copy(self)
        part._buffers = dict(self._buffers)
        if self.scales is not None:
            part._buffers["scales"] = _picked(self.scales, rows)
        if self.on_input or self.shared:
            return part
        if begin != of:
            raise ValueError("it has another number of rows")
        own = [turn for one in rows for turn in _within(turns, range(of)[one])]
        alike = [torch.stack(list(same)) for _, same in groupby(own, len)]
        part.count = len(alike)
        part._buffers |= {f"turn_{number}": turn for number, turn in enumerate(alike)}
        return part

    def _turned(self, layer: Any, channels: Tensor) -> Tensor:
        """What turning adds to a layer's inputs or to what it makes of them."""
        last = _channels_last(layer, channels)
        if self.shared:
            [turn] = self.turns
            made = [(last.unflatten(-1, (-1, turn.shape[1])) @ turn[0]).flatten(-2)]
        else:
            sizes = [turn.shape[0] * turn.shape[1] for turn in self.turns]
            parts = zip(last.split(sizes, -1), self.turns, strict=True)
            blocks = ((one.unflatten(-1, turn.shape[:2]), turn) for one, turn in parts)
            made = [torch.einsum("...kn,knm->...km", *both).flatten(-2) for both in blocks]
        return _channels_back(layer, made[0] if len(made) == 1 else torch.cat(made, -1))


class _Butterfly(Addition):
    """BOFT: the rows of a layer, turned in blocks several times, which are others each time."""

    turns: Tensor
    scales: Tensor | None

    def __init__(self, turns: Tensor, scales: Tensor | None) -> None:
        """`turns` as in `turns.of_butterfly`."""
        super().__init__()
        self.register_buffer("turns", turns)
        self.register_buffer("scales", None if scales is None else scales.flatten())

    def fits(self, layer: torch.nn.Module) -> bool:
        tall = shape_of(layer)[0]
        steps, blocks, size, _ = self.turns.shape
        deep = 2**steps * (size // 2)
        scaled = self.scales is None or self.scales.numel() == tall
        return tall == blocks * size and tall % deep == 0 and scaled

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        plain = _channels_last(layer, _unbiased(layer, x)).to(self.turns.dtype)
        made, size = plain, self.turns.shape[-1]
        for step, turn in enumerate(self.turns):
            apart = 2**step * (size // 2)
            # neighbours of this step lie `apart`, in pairs of groups
            paired = made.unflatten(-1, (-1, 2, apart)).transpose(-1, -2).flatten(-3)
            blocks = paired.unflatten(-1, (-1, size))
            paired = torch.einsum("kij,...kj->...ki", turn, blocks).flatten(-2)
            made = paired.unflatten(-1, (-1, apart, 2)).transpose(-1, -2).flatten(-3)
        if self.scales is not None:
            made = made * self.scales
        return _channels_back(layer, made - plain)

    def rows(self, rows: Rows, of: int) -> "_Butterfly":
        """Every row comes to be of every other one."""
        raise Inseparable("its rows cannot be shared out")


def addition_of(tensors: Mapping[str, Tensor], *, exact: bool = False) -> Addition:
    """What these pieces add to a layer. `exact` as in `turns.of_inputs`. Raises `ValueError`, `KeyError`
    or `RuntimeError` for tensors that do not go together."""
    kind = kind_of(dict.fromkeys(tensors, ""))
    if kind == "IA3":
        return _Scaled(tensors)
    if kind == "GLoRA":
        return _General(tensors)
    if kind == "OFT":
        return _turning(tensors, exact=exact)
    change = _LowRank(tensors) if kind == "LoRA" else _Product(kind, tensors)
    return _Decomposed(change, tensors) if {"magnitude", "dora_scale"} & set(tensors) else change


def _turning(tensors: Mapping[str, Tensor], *, exact: bool) -> Addition:
    if "oft_R" in tensors or "oft_s" in tensors:
        made, scales = turns.of_inputs(tensors, exact=exact), tensors.get("oft_s")
        return _Turned((made,), scales, on_input=True, shared=True)
    scales = tensors.get("rescale")
    if "oft_blocks" in tensors and tensors["oft_blocks"].ndim == 4:
        return _Butterfly(turns.of_butterfly(tensors), scales)
    return _Turned(turns.of_rows(tensors), scales, on_input=False, shared="oft_r" in tensors)


def _scale(tensors: Mapping[str, Tensor], rank: int) -> float:
    """An adapter of rank r is trained at alpha / r, so that r can change without the rest."""
    return float(tensors["alpha"]) / rank if "alpha" in tensors else 1.0


def shape_of(layer: Any) -> torch.Size:
    """Of its weights as they were before anybody packed them."""
    if isinstance(layer, torch.nn.Conv2d):
        return torch.Size(
            (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        )
    return torch.Size((layer.out_features, layer.in_features))


def _unbiased(layer: Any, x: Tensor) -> Tensor:
    """What a layer makes of an input by its weight alone."""
    made: Tensor = layer(x)
    if layer.bias is None:
        return made
    return made - _along(layer, layer.bias.to(made.dtype))


def _along(layer: Any, numbers: Tensor) -> Tensor:
    """Numbers for the channels of what a layer sees or makes, in a shape that multiplies them."""
    return numbers.view(-1, 1, 1) if isinstance(layer, torch.nn.Conv2d) else numbers


def _channels_last(layer: Any, channels: Tensor) -> Tensor:
    return channels.movedim(1, -1) if isinstance(layer, torch.nn.Conv2d) else channels


def _channels_back(layer: Any, channels: Tensor) -> Tensor:
    return channels.movedim(-1, 1) if isinstance(layer, torch.nn.Conv2d) else channels


def _within(turns: Mapping[int, Tensor], rows: range) -> Iterator[Tensor]:
    """The blocks of these rows, by where each begins. Raises `Inseparable` where one goes beyond."""
    at = rows.start
    while at < rows.stop:
        turn = turns.get(at)
        if turn is None or at + len(turn) > rows.stop:
            raise Inseparable("a block of it turns rows of several layers")
        yield turn
        at += len(turn)


def _picked(tensor: Tensor, rows: Rows) -> Tensor:
    """Rows of a tensor; a view of it where they lie together."""
    return tensor[rows[0]] if len(rows) == 1 else torch.cat([tensor[one] for one in rows])


def _four(weight: Tensor) -> Tensor:
    return weight if weight.ndim == 4 else weight[:, :, None, None]


def _convolved(
    layer: torch.nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """As the layer goes over its input."""
    padding: Any = layer.padding
    return functional.conv2d(x, weight, bias, layer.stride, padding, layer.dilation)
