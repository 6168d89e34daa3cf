"""Prompts to embeddings: for CLIP with weights, chunks of any number, and A1111's way to apply them.

Up to one chunk without weights, the embeddings are bit-equal to those of diffusers' own
`encode_prompt`. Every chunk goes through the encoder by itself, since a batch of two may round
differently from two batches of one.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from studio.core.errors import InvalidRequest
from studio.core.records import NOTHING
from studio.engine.embeddings import inserted
from studio.families._family import Text
from studio.prompts import grammar
from studio.prompts.chunks import COMMA, Chunk, chunk
from studio.prompts.embeddings import Embedded

MAX_RESTORE = 100.0
"""Largest factor that restoring the mean may apply, and 1 over the smallest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """What a prompt took up in the first text encoder."""

    used: int
    """Tokens of the text itself."""
    chunks: int
    """Windows it filled, before any were added to match the other prompt."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditioning:
    """A prompt and its negative as the pipeline wants them."""

    arguments: Mapping[str, Any]
    """Keyword arguments of the pipeline's call. Of CLIP: `prompt_embeds` [1, chunks × length,
    width], with guidance `negative_prompt_embeds` of the same shape, and with two encoders the
    `pooled_prompt_embeds` [1, width] of the first chunk and their negative. Of others: what their
    `encode_prompt` gives, or the words themselves."""
    prompt: Length | None = None
    """None where it is not CLIP that reads."""
    negative: Length | None = None
    """Zero tokens and chunks where guidance is off."""

    @property
    def facts(self) -> dict[str, int]:
        """Counts for the picture's metadata; `chunks` is the longer of the two prompts'."""
        if self.prompt is None or self.negative is None:
            return {}
        return {
            "prompt": self.prompt.used,
            "negative": self.negative.used,
            "chunks": max(self.prompt.chunks, self.negative.chunks),
        }


@dataclass(frozen=True, slots=True)
class _Encoder:
    """A text encoder with its tokenizer."""

    model: Any
    tokenizer: Any
    pooled: bool
    """One of a pair: the layer before the last is read as it is, without the final norm."""
    vectors: Mapping[str, Tensor]
    """[count, width] of each word that stands for vectors of its own."""

    @property
    def words(self) -> Embedded:
        return Embedded({name: len(vectors) for name, vectors in self.vectors.items()})

    @property
    def length(self) -> int:
        """Tokens in one pass, start and end among them."""
        return min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings)

    def chunks(self, text: str) -> tuple[Chunk, ...]:
        comma = self.tokenizer.get_vocab().get(COMMA)
        words = self.words
        return chunk(
            text,
            words.tokenizer(self._tokenize),
            window=self.length - 2,
            comma=comma,
            together=words.together,
        )

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        # verbose: it would warn of texts longer than a window, which is what chunks are for
        found = self.tokenizer(
            list(texts), truncation=False, add_special_tokens=False, verbose=False
        )
        return found.input_ids


@torch.no_grad()
def encode(
    pipeline: Any,
    *,
    prompt: str,
    negative_prompt: str = "",
    guided: bool = True,
    clip_skip: int = 1,
    device: torch.device | str | None = None,
    words: Mapping[str, Sequence[Tensor]] = NOTHING,
) -> Conditioning:
    """Embeddings of a prompt for a pipeline with one CLIP text encoder or with two.

    `pipeline` is anything with `text_encoder`, `tokenizer` and, where there are two,
    `text_encoder_2`, `tokenizer_2`. `guided` False leaves the negative prompt out (guidance ≤ 1).
    `clip_skip` counts layers from the last, 1 being the last one (diffusers counts from 0, and
    leaves the negative prompt alone). Pairs of encoders are trained on the layer before the last,
    so 1 and 2 both mean that one there. A blank negative prompt becomes zeros where the pipeline's
    `force_zeros_for_empty_prompt` says so, as if none was given.

    `words` have vectors of their own, [count, width] for each encoder, of which a refiner has only the
    second. `device` is where the
    embeddings go, by default where the encoder is. Nothing is kept. Raises
    `InvalidRequest` for what the grammar refuses and for a `clip_skip` beyond the encoder's layers.
    """
    encoders = _encoders(pipeline, words)
    for encoder in encoders:
        _check_skip(encoder, clip_skip)
    wanted = [encoder.chunks(prompt) for encoder in encoders]
    blank = not negative_prompt.strip()
    unwanted = [encoder.chunks("" if blank else negative_prompt) for encoder in encoders]
    both = wanted + unwanted if guided else wanted
    count = max(len(chunks) for chunks in both)

    embeds, pooled = _encode(encoders, wanted, count, clip_skip)
    arguments = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    if guided:
        if blank and _zeros_for_nothing(pipeline):
            negative, negative_pooled = _zeros(embeds), _zeros(pooled)
        else:
            negative, negative_pooled = _encode(encoders, unwanted, count, clip_skip)
        arguments["negative_prompt_embeds"] = negative
        arguments["negative_pooled_prompt_embeds"] = negative_pooled
    dtype, home = encoders[-1].model.dtype, device or encoders[-1].model.device
    return Conditioning(
        arguments=MappingProxyType(
            {
                name: tensor.to(device=home, dtype=dtype)
                for name, tensor in arguments.items()
                if tensor is not None
            }
        ),
        prompt=_length(wanted[0]),
        negative=_length(unwanted[0]) if guided else Length(used=0, chunks=0),
    )


@torch.no_grad()
def read(
    pipeline: Any,
    text: Text,
    *,
    prompt: str,
    negative_prompt: str | None = None,
    guided: bool = True,
    device: torch.device | str | None = None,
    picture: Any = None,
) -> Conditioning:
    """A prompt as sentences, without weights, read by the pipeline's own `encode_prompt`, or left to
    its call where that alone can read it.

    `negative_prompt` None is one that the family does not have; with `guided` False it is left out.
    `picture` is what the prompt is about, for encoders that also see. Raises `InvalidRequest` for
    what the grammar refuses.
    """
    words: dict[str, Any] = {"prompt": grammar.plain(prompt)}
    if negative_prompt is not None:
        words["negative_prompt"] = grammar.plain(negative_prompt) if guided else ""
    if not text.results:
        # nothing to keep away from is not the same as the empty sentence to all of them
        given = {name: value for name, value in words.items() if value or name == "prompt"}
        return Conditioning(arguments=MappingProxyType(given))
    asked = inspect.signature(pipeline.encode_prompt).parameters
    given = {
        # as long and with the same words around it as the pipeline's call would read it
        **{
            name: parameter.default
            for name, parameter in inspect.signature(pipeline.__call__).parameters.items()
            if parameter.default is not None and parameter.default is not parameter.empty
        },
        "prompt_2": None,
        "prompt_3": None,
        "device": device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": guided,
        "image": picture,
        **words,
        **text.options,
    }
    found = _results(pipeline, text, {k: v for k, v in given.items() if k in asked})
    if text.negative_apart and guided:
        apart = {**given, "prompt": words["negative_prompt"] or " "}
        unwanted = _results(pipeline, text, {k: v for k, v in apart.items() if k in asked})
        found |= {f"negative_{name}": value for name, value in unwanted.items()}
    if "negative_prompt" in inspect.signature(pipeline.__call__).parameters:
        found["negative_prompt"] = None  # an empty one by default, which may not stand beside these
    return Conditioning(arguments=MappingProxyType(found))


def _results(pipeline: Any, text: Text, arguments: Mapping[str, Any]) -> dict[str, Any]:
    results = pipeline.encode_prompt(**arguments)
    return {
        name: value
        for name, value in zip(text.results, results, strict=True)
        if name and value is not None
    }


def _encoders(pipeline: Any, words: Mapping[str, Sequence[Tensor]]) -> list[_Encoder]:
    parts = [
        (getattr(pipeline, "text_encoder", None), getattr(pipeline, "tokenizer", None)),
        (getattr(pipeline, "text_encoder_2", None), getattr(pipeline, "tokenizer_2", None)),
    ]
    paired = parts[1][0] is not None
    return [
        _Encoder(model, tokenizer, paired, {name: vectors[at] for name, vectors in words.items()})
        for at, (model, tokenizer) in enumerate(parts)
        if model is not None
    ]


def _check_skip(encoder: _Encoder, clip_skip: int) -> None:
    layers = encoder.model.config.num_hidden_layers
    if not 1 <= clip_skip <= layers:
        raise InvalidRequest(
            f"Clip skip {clip_skip} is not within the {layers} layers of the text encoder.",
            f"Choose a clip skip between 1 and {layers}.",
            field="clip_skip",
        )


def _zeros_for_nothing(pipeline: Any) -> bool:
    return bool(getattr(getattr(pipeline, "config", None), "force_zeros_for_empty_prompt", False))


def _zeros(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.zeros_like(tensor)


def _length(chunks: Sequence[Chunk]) -> Length:
    return Length(used=sum(len(part.ids) for part in chunks), chunks=len(chunks))


def _encode(
    encoders: Sequence[_Encoder],
    texts: Sequence[Sequence[Chunk]],
    count: int,
    clip_skip: int,
) -> tuple[Tensor, Tensor | None]:
    """Hidden states [1, count × length, sum of widths] and the pooled ones of the last encoder."""
    pooled: Tensor | None = None
    states: list[Tensor] = []
    for encoder, chunks in zip(encoders, texts, strict=True):
        filled = [*chunks, *[Chunk()] * (count - len(chunks))]
        passes = [_pass(encoder, part, clip_skip) for part in filled]
        states.append(torch.cat([hidden for hidden, _ in passes], dim=1))
        pooled = passes[0][1]
    return torch.cat(states, dim=-1), pooled


def _pass(encoder: _Encoder, part: Chunk, clip_skip: int) -> tuple[Tensor, Tensor | None]:
    """One chunk through one encoder: hidden states [1, length, width], weighted, and pooled."""
    model, tokenizer = encoder.model, encoder.tokenizer
    padding = encoder.length - 2 - len(part.ids)
    own = encoder.words.vectors
    inserts = {
        at: encoder.vectors[own[token][0]][own[token][1]]
        for at, token in enumerate(part.ids, start=1)
        if token < 0
    }
    ids = [tokenizer.bos_token_id, *(max(0, token) for token in part.ids), tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * padding
    options: dict[str, Any] = {}
    if getattr(model.config, "use_attention_mask", False):
        mask = [1] * (len(ids) - padding) + [0] * padding
        options["attention_mask"] = torch.tensor([mask], device=model.device)
    layered = encoder.pooled or clip_skip > 1
    with inserted(model, inserts):
        output = model(
            torch.tensor([ids], device=model.device), output_hidden_states=layered, **options
        )
    if encoder.pooled:
        hidden = output.hidden_states[-max(2, clip_skip)]
    elif clip_skip > 1:
        hidden = _final_norm(model)(output.hidden_states[-clip_skip])
    else:
        hidden = output[0]
    pooled = output[0] if encoder.pooled and output[0].ndim == 2 else None
    return _emphasised(hidden, [1.0, *part.weights, 1.0, *[1.0] * padding]), pooled


def _final_norm(model: Any) -> Any:
    """The norm behind the last layer; transformers 5 took away the module between."""
    return getattr(model, "text_model", model).final_layer_norm


def _emphasised(hidden: Tensor, weights: Sequence[float]) -> Tensor:
    """Hidden states times their weights, scaled so that their mean is what it was.

    That is A1111's "Original" emphasis. The scaling only keeps the whole at its usual strength; at a
    mean near zero it would blow up, so there it is left out.
    """
    if all(weight == 1.0 for weight in weights):
        return hidden
    # half precision would lose the mean
    exact = hidden.float()
    heavy = exact * torch.tensor(weights, device=hidden.device).reshape(1, -1, 1)
    before, after = exact.mean(), heavy.mean()
    scale = before / after
    steady = (scale > 1 / MAX_RESTORE) & (scale < MAX_RESTORE)
    return (heavy * torch.where(steady, scale, torch.ones_like(scale))).to(hidden.dtype)
