"""Z-Image, Turbo by default: one stream for text and picture, read to by Qwen 3.

diffusers counts its guidance from 0.0, which is off; here, as everywhere, 1.0 is. The base model has
the same keys and wants about 40 steps at a guidance of 5; a sidecar says so.
"""

from typing import Any

from studio import samplers
from studio.families._family import SENTENCES, Defaults, Family, Over, Role, Sampling, Text
from studio.families._keys import Shapes, has
from studio.families._steering import Config, Encoder, Steering, layers, widths


def _call_args(sampling: Sampling) -> dict[str, Any]:
    return {"guidance_scale": max(0.0, sampling.guidance - 1.0)}


_CONTROL = "ZImageControlNetModel"
_SHOWN = "control_all_x_embedder.2-1.weight"
_REFINER = "control_noise_refiner"
_REFINES = f"{_REFINER}.0.before_proj.weight"
"""Of those from 2.1 on, whose refiner hears the map too."""
_PATCH = 4
"""Latents of a token."""


def _made_for(shapes: Shapes) -> Encoder:
    return Encoder(shapes[_SHOWN][0], 0, _CONTROL)


def _control_config(shapes: Shapes, denoiser: Config) -> Config:
    count, every = layers(shapes, "control_layers"), denoiser["n_layers"]
    refiners = layers(shapes, _REFINER)
    said = "control_noise_refiner" if _REFINES in shapes else None
    if not refiners:
        said, refiners = "control_layers", denoiser["n_refiner_layers"]
    return {
        "control_layers_places": [at * (every // count) for at in range(count)],
        "control_refiner_layers_places": [*range(refiners)] if said else [],
        "add_control_noise_refiner": said,
        "control_in_dim": shapes[_SHOWN][1] // _PATCH,
        "n_refiner_layers": refiners,
    }


STEERING = Steering(
    part="transformer",
    network=_CONTROL,
    keys=has(_SHOWN, "control_layers.0.before_proj.weight"),
    made_for=_made_for,
    encoder=widths(_CONTROL, ("all_x_embedder.2-1.weight", "cap_embedder.1.weight")),
    config=_control_config,
    untold=("control_layers_places", "control_refiner_layers_places", "add_control_noise_refiner"),
    kinds=("edges", "depth", "pose"),
    trained=_REFINES,
    unused=f"{_REFINER}.",
)
"""Of Alibaba's Fun-Controlnet-Union. In 2.0 the refiner was never trained, and the other layers are
gone through in its place as well."""


FAMILY = Family(
    id="zimage",
    label="Z-Image",
    keys=has(
        "transformer.all_x_embedder.2-1.weight",
        "transformer.noise_refiner.0.attention.to_q.weight",
        "transformer.cap_embedder.0.weight",
        "vae.decoder.conv_in.weight",
    ),
    pipelines={
        Role.TEXT: "ZImagePipeline",
        Role.IMAGE: "ZImageImg2ImgPipeline",
        Role.INPAINT: "ZImageInpaintPipeline",
    },
    components={
        "transformer": ("ZImageTransformer2DModel",),
        "vae": ("AutoencoderKL",),
        "text_encoder": ("Qwen3Model", "Qwen3ForCausalLM"),
        "tokenizer": ("Qwen2Tokenizer", "Qwen2TokenizerFast"),
    },
    native_px=1024,
    multiple_px=16,
    defaults=Defaults(steps=9, guidance=1.0, sampler="flow_euler"),
    supports=SENTENCES,
    samplers=samplers.FLOW,
    text=Text(results=("prompt_embeds", "negative_prompt_embeds")),
    over=Over.PICTURE,
    steering=STEERING,
    call_args=_call_args,
)
