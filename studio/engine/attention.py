"""Attention that hears more than the words: exchanged for as long as one picture takes, then as it
was. Layers belong to a shared denoiser; what is put into them has no weights of theirs and no hooks.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Processor = Callable[..., Tensor]
"""What diffusers calls with the layer, its states and those of the words."""

SELF, CROSS = "attn1.processor", "attn2.processor"
"""How the names of layers end that look at the picture itself, and at the words."""


def layers(unet: Any, ending: str) -> dict[str, Attention]:
    """The attention layers of a denoiser by the names that diffusers gives their processors."""
    named = ((f"{name}.processor", module) for name, module in unet.named_modules())
    return {
        name: module
        for name, module in named
        if isinstance(module, Attention) and name.endswith(ending)
    }


@contextmanager
def attending(attentive: Mapping[Attention, Processor]) -> Generator[None]:
    """Layers with other processors; whatever happens inside, they have their own ones afterwards."""
    before: dict[Attention, Any] = {}
    try:
        for layer, processor in attentive.items():
            before[layer] = layer.processor
            _put(processor, layer)
        yield
    finally:
        for layer, processor in before.items():
            _put(processor, layer)


def _put(processor: Processor, layer: Any) -> None:
    """Not by diffusers' `set_processor`, which also unregisters modules."""
    layer.processor = processor


def _keys_and_values(layer: Attention, states: Tensor) -> tuple[Tensor, Tensor]:
    """Of what a layer listens to; only layers that hear nothing but added words have no own ones."""
    assert layer.to_k is not None
    assert layer.to_v is not None
    return _split(layer, layer.to_k(states)), _split(layer, layer.to_v(states))


def _split(layer: Attention, states: Tensor) -> Tensor:
    """[batch, tokens, channels] → [batch, heads, tokens, channels / heads]."""
    return states.view(len(states), -1, layer.heads, states.shape[-1] // layer.heads).transpose(
        1, 2
    )


def _joined(states: Tensor) -> Tensor:
    """The way back."""
    return states.transpose(1, 2).reshape(len(states), states.shape[2], -1)


def _out(layer: Attention, states: Tensor) -> Tensor:
    projection: Any = layer.to_out
    for module in projection:
        states = module(states)
    return states / layer.rescale_output_factor


def _over(mask: Tensor | None, states: Tensor) -> Tensor:
    """The mask [1, height, width] as a factor for states [batch, tokens, channels]."""
    if mask is None:
        return states.new_ones(())
    scaled = IPAdapterMaskProcessor.downsample(mask, len(states), states.shape[1], states.shape[2])
    return scaled.to(states)


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """What one picture says in one layer."""

    key: Tensor
    value: Tensor
    """[batch, tokens, channels]; the rows are those of the denoiser's batch."""
    weight: float
    acts: Callable[[], bool]
    """Whether it is its turn at this step."""
    mask: Tensor | None = None


class Pictured:
    """Looks at the words, and at pictures beside them (IP-Adapter, Ye et al., 2023)."""

    def __init__(self, plain: Any, voices: Sequence[Voice]) -> None:
        """`plain` is the layer's own processor, and does all of it where no voice acts."""
        self._plain = plain
        self._voices = tuple(voice for voice in voices if voice.weight)
        self._row = 0

    def __call__(
        self,
        layer: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        acting = [voice for voice in self._voices if voice.acts()]
        if not acting:
            return self._plain(layer, hidden_states, encoder_hidden_states, attention_mask, temb)
        rows = self._rows(len(hidden_states), len(acting[0].key))
        query = _split(layer, layer.to_q(hidden_states))
        key, value = _keys_and_values(layer, encoder_hidden_states)
        heard = _joined(
            scaled_dot_product_attention(query, key, value, _mask(layer, attention_mask, key))
        )
        for voice in acting:
            said = scaled_dot_product_attention(
                query, _split(layer, voice.key[rows]), _split(layer, voice.value[rows])
            )
            seen = _joined(said)
            if voice.mask is not None:
                seen = seen * _over(voice.mask, seen)
            heard = heard + voice.weight * seen
        return _out(layer, heard)

    def _rows(self, count: int, of: int) -> slice:
        """Which rows of a batch these are: where memory is short they come one by one, in order."""
        if count >= of:
            return slice(None)
        first, self._row = self._row, (self._row + count) % of
        return slice(first, first + count)


def _mask(layer: Attention, mask: Tensor | None, key: Tensor) -> Tensor | None:
    if mask is None:
        return None
    prepared = layer.prepare_attention_mask(mask, key.shape[2], len(key))
    return prepared.view(len(key), layer.heads, -1, prepared.shape[-1])


@dataclass(slots=True)
class Shared:
    """What the layers of a denoiser saw in a reference, for as long as a call takes."""

    mode: Literal["plain", "listen", "speak"] = "plain"
    weight: float = 1.0
    """How much the reference counts beside the picture itself: 0.0 not at all, 1.0 as much as it."""
    mask: Tensor | None = None
    seen: dict[str, list[tuple[Tensor, Tensor, Tensor, float]]] = field(
        default_factory=dict[str, list[tuple[Tensor, Tensor, Tensor, float]]]
    )
    """By layer: query, key and value of each reference [1, heads, tokens, channels], and its share."""
    share: float = 1.0
    """Of the reference that is listened to."""


class Sharing:
    """Looks at the picture itself and at a reference beside it, with queries and keys brought to the
    reference's statistics (StyleAligned, Hertz et al., 2023)."""

    def __init__(self, plain: Any, name: str, shared: Shared) -> None:
        self._plain, self._name, self._shared = plain, name, shared

    def __call__(
        self,
        layer: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        shared = self._shared
        given = (hidden_states, encoder_hidden_states, attention_mask, temb)
        if shared.mode == "plain":
            return self._plain(layer, *given)
        query = _split(layer, layer.to_q(hidden_states))
        key, value = _keys_and_values(layer, hidden_states)
        if shared.mode == "listen":
            shared.seen.setdefault(self._name, []).append((query, key, value, shared.share))
            return self._plain(layer, *given)
        heard = _joined(self._shares(query, key, value))
        if shared.mask is not None:
            alone = _joined(scaled_dot_product_attention(query, key, value))
            heard = alone + _over(shared.mask, heard) * (heard - alone)
        return _out(layer, heard)

    def _shares(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen, weight = self._shared.seen[self._name], self._shared.weight
        like = min(1.0, weight)
        query = query.lerp(_adapted(query, [(q, share) for q, _, _, share in seen]), like)
        key = key.lerp(_adapted(key, [(k, share) for _, k, _, share in seen]), like)
        rows, own = len(query), key.shape[2]
        keys = torch.cat([key, *(k.expand(rows, -1, -1, -1) for _, k, _, _ in seen)], dim=2)
        values = torch.cat([value, *(v.expand(rows, -1, -1, -1) for _, _, v, _ in seen)], dim=2)
        counts = [own, *(k.shape[2] for _, k, _, _ in seen)]
        bias = [0.0, *(_log(weight * share) for *_, share in seen)]
        louder = torch.cat(
            [query.new_full((count,), value) for count, value in zip(counts, bias, strict=True)]
        )
        return scaled_dot_product_attention(query, keys, values, louder.expand(query.shape[2], -1))


def _log(weight: float) -> float:
    return float(torch.tensor(weight).log())


def _adapted(states: Tensor, towards: Sequence[tuple[Tensor, float]]) -> Tensor:
    """The states with mean and spread over their tokens of others, mixed by their shares."""
    mean = sum(share * other.mean(2, keepdim=True) for other, share in towards)
    spread = sum(share * _spread(other) for other, share in towards)
    return (states - states.mean(2, keepdim=True)) / _spread(states) * spread + mean


def _spread(states: Tensor) -> Tensor:
    return (states.var(2, keepdim=True, unbiased=False) + 1e-5).sqrt()
