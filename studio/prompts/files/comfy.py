"""ComfyUI's graph: what its sampler was told, followed from link to link."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from studio.prompts.files._reading import (
    CONTROLNET,
    IMG2IMG,
    IP_ADAPTER,
    Texts,
    items,
    json_object,
    lora,
    mapping,
    vae,
)
from studio.prompts.files.found import Found, text_of
from studio.prompts.tags import Tag

Node = Mapping[str, Any]
Graph = Mapping[str, Node]

MAX_NODES = 2000
MAX_SAMPLERS = 50

_TEXTS = (
    *("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string"),
    *("string_a", "string_b", "text_a", "text_b", "text1", "text2"),
)
_SCALARS = ("value", "Value", "int", "float", "number", "seed", "noise_seed", "string", "text")
"""What nodes that only hold a value call it."""
_WEIGHTS = ("strength_model", "model_weight", "model_str", "lora_wt")
_TEXT_WEIGHTS = ("strength_clip", "clip_weight", "clip_str")
_PICTURE = frozenset({"latent_image", "latent", "samples", "image", "images", "pixels", "mask"})
"""Inputs that carry pictures; what lies behind them made another picture."""
_WORDS = frozenset({"positive", "negative", "conditioning", "clip", "vae"})


def read(held: Texts) -> Found | None:
    """The settings of the graph's first sampler; None without graph or sampler.

    `prompt` holds ComfyUI's API form: nodes by id with `class_type` and `inputs`, where a link is
    [id, slot]. Loops and nodes that are not there are survived.
    """
    nodes = _nodes(json_object(held.get("prompt")) or {})
    chosen = _sampler(nodes)
    if chosen is None:
        return None
    sampler, samplers = chosen
    settings = list(_upstream(nodes, [sampler], without=_PICTURE | _WORDS))
    positive = _first_link(settings, "positive", "conditioning")
    negative = _first_link(settings, "negative")
    prompt, more = _prompt(nodes, positive, "prompt")
    unwanted, even_more = _prompt(nodes, negative, "negative prompt")
    models = list(_upstream(nodes, _links(settings, "model"), without=_PICTURE))
    latents = list(_upstream(nodes, _links(settings, "latent_image", "latent"), without=_WORDS))
    sized = _sized(latents)
    skip = _value(nodes, _with(_all(nodes, positive), "stop_at_clip_layer"), "stop_at_clip_layer")
    taught = _with(_all(nodes, positive), "guidance")  # FLUX's, which its network was taught
    notes = [
        *more,
        *even_more,
        *_sampler_notes(nodes, settings, samplers, latents, sized),
        *_model_notes(nodes, models),
    ]
    return Found(
        source="ComfyUI",
        prompt=prompt,
        negative_prompt=unwanted,
        steps=_setting(nodes, settings, "steps"),
        guidance=_setting(nodes, [*filter(None, [taught]), *settings], "guidance", "cfg"),
        seed=_setting(nodes, settings, "seed", "noise_seed"),
        width=_value(nodes, sized, "width"),
        height=_value(nodes, sized, "height"),
        clip_skip=-skip if isinstance(skip, int) and skip < 0 else None,
        sampler=text_of(_setting(nodes, settings, "sampler_name")),
        schedule=text_of(_setting(nodes, settings, "scheduler")),
        checkpoint_name=text_of(_setting(nodes, models, "ckpt_name", "unet_name", "model_name")),
        loras=tuple(dict.fromkeys(_loras(nodes, [*models, *_all(nodes, positive)]))),
        notes=tuple(notes),
    )


def _nodes(graph: Mapping[str, Any]) -> Graph:
    found = ((name, mapping(node)) for name, node in list(graph.items())[:MAX_NODES])
    return {name: node for name, node in found if node and mapping(node.get("inputs"))}


def _sampler(nodes: Graph) -> tuple[Node, int] | None:
    """The sampler whose picture no other sampler began, and how many there are."""
    found = [node for node in nodes.values() if _samples(node)]
    latent = [node for node in found if _first_link([node], "latent_image", "latent")]
    for node in latent[:MAX_SAMPLERS]:
        before = _upstream(nodes, _links([node], "latent_image", "latent"), without=_WORDS)
        if not any(_samples(other) for other in before):
            return node, len(found)
    return (found[0], len(found)) if found else None


def _sized(latents: list[Node]) -> Node | None:
    """Where the size of the first latent picture comes from."""
    sized = [node for node in latents if {"width", "height"} <= node["inputs"].keys()]
    empty = [node for node in sized if "Empty" in str(node.get("class_type"))]
    return next(iter([*empty, *sized]), None)


def _samples(node: Node) -> bool:
    inputs = node["inputs"]
    if {"sampler_name", "steps"} <= inputs.keys():
        return True
    return {"sampler", "sigmas"} <= inputs.keys()


def _link(value: object) -> str | None:
    """Id of the node that an input comes from; None for a plain value."""
    link = items(value)
    return str(link[0]) if len(link) == 2 and isinstance(link[0], (str, int)) else None


def _upstream(
    nodes: Graph, starts: Iterable[Node], *, without: frozenset[str] = frozenset()
) -> Iterator[Node]:
    """The nodes themselves and all that feed them, nearest first; `without` names inputs to pass."""
    waiting = list(starts)
    seen = {id(node) for node in waiting}
    for node in waiting:
        yield node
        for name, value in node["inputs"].items():
            source = nodes.get(_link(value) or "") if name not in without else None
            if source is not None and id(source) not in seen:
                seen.add(id(source))
                waiting.append(source)


def _links(found: Iterable[Node], *names: str) -> list[Node]:
    """Stand-ins whose one input is the first link of that name."""
    link = _first_link(found, *names)
    return [] if link is None else [{"inputs": {"link": link}}]


def _first_link(found: Iterable[Node], *names: str) -> list[Any] | None:
    for node in found:
        for name in names:
            if _link(node["inputs"].get(name)) is not None:
                return node["inputs"][name]
    return None


def _all(nodes: Graph, link: list[Any] | None) -> list[Node]:
    return [] if link is None else list(_upstream(nodes, [{"inputs": {"link": link}}]))


def _with(found: Iterable[Node], name: str) -> Node | None:
    return next((node for node in found if name in node["inputs"]), None)


def _setting(nodes: Graph, found: Iterable[Node], *names: str) -> object:
    for node in found:
        for name in names:
            value = _value(nodes, node, name)
            if value is not None:
                return value
    return None


def _value(nodes: Graph, node: Node | None, name: str) -> object:
    """An input as a plain value, also if another node holds it."""
    if node is None:
        return None
    value = node["inputs"].get(name)
    for _ in range(16):
        source = nodes.get(_link(value) or "")
        if source is None:
            break
        inputs = source["inputs"]
        value = next((inputs[key] for key in (name, *_SCALARS) if key in inputs), None)
    return value if isinstance(value, (str, int, float)) else None


def _prompt(nodes: Graph, link: list[Any] | None, label: str) -> tuple[str, list[str]]:
    """Texts that condition the sampler, joined by commas."""
    notes: list[str] = []
    texts: dict[str, None] = {}
    told = False
    start: list[Node] = [] if link is None else [{"inputs": {"link": link}}]
    through = _PICTURE | {"clip", "vae", "model", "control_net", "clip_vision", "style_model"}
    # a node that joins both prompts passes each on; follow the one that was asked for
    through |= {"negative"} if label == "prompt" else {"positive"}
    for node in _upstream(nodes, start, without=frozenset(through)):
        kind = str(node.get("class_type", ""))
        if "ControlNet" in kind:
            notes.append(CONTROLNET)
        if "ZeroOut" in kind:
            return "", notes
        values = [_value(nodes, node, name) for name in _TEXTS]
        told |= any(value is not None for value in values)
        texts |= dict.fromkeys(text for value in values if (text := text_of(value).strip()))
    if not told and label == "prompt":
        notes.append("The workflow's prompt was not found: it comes from a node that is not known.")
    if len(texts) > 1:
        notes.append(f"Several texts made up the {label}; they were joined by commas.")
    return ", ".join(texts), notes


def _sampler_notes(
    nodes: Graph, settings: list[Node], samplers: int, latents: list[Node], sized: Node | None
) -> Iterator[str]:
    if samplers > 1:
        yield f"The workflow samples {samplers} times; only the first pass is used."
    strength = _setting(nodes, settings, "denoise")
    loaded = any("LoadImage" in str(node.get("class_type", "")) for node in latents)
    if loaded or (isinstance(strength, (int, float)) and strength < 1 and sized is None):
        yield IMG2IMG


def _model_notes(nodes: Graph, models: list[Node]) -> Iterator[str]:
    if any("IPAdapter" in str(node.get("class_type", "")) for node in models):
        yield IP_ADAPTER
    loaders = (node for node in nodes.values() if "vae_name" in node["inputs"])
    for node in loaders:
        yield vae(text_of(_value(nodes, node, "vae_name")))


def _loras(nodes: Graph, found: Iterable[Node]) -> Iterator[Tag]:
    """Of loaders of one, of stacks that number their inputs, and of those with a row for each."""
    for node in found:
        for key, value in node["inputs"].items():
            if key.startswith("lora_name"):
                tag = _lora(nodes, node, key.removeprefix("lora_name"))
            elif (entry := mapping(value)) and entry.get("on", True):
                tag = lora(entry.get("lora"), entry.get("strength"), entry.get("strengthTwo"))
            else:
                continue
            if tag.name not in {"", "None"}:
                yield tag


def _lora(nodes: Graph, node: Node, number: str) -> Tag:
    def said(*names: str) -> object:
        return _setting(nodes, [node], *(name + number for name in names))

    text = 0.0 if "ModelOnly" in str(node.get("class_type")) else said(*_TEXT_WEIGHTS)
    return lora(said("lora_name"), said(*_WEIGHTS), text)
