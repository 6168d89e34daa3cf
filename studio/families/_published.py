"""Networks in files of their own, as they are published for files that hold a denoiser alone."""

from studio.families._family import Published

CLIP_L = Published(
    label="clip_l.safetensors",
    source="comfyanonymous/flux_text_encoders/clip_l.safetensors",
    size_bytes=246_144_152,
    licence="MIT",
)
CLIP_G = Published(
    label="clip_g.safetensors",
    source="Comfy-Org/stable-diffusion-3.5-fp8/text_encoders/clip_g.safetensors",
    size_bytes=1_389_382_176,
    licence="MIT",
)
T5_XXL = Published(
    label="t5xxl_fp16.safetensors",
    source="comfyanonymous/flux_text_encoders/t5xxl_fp16.safetensors",
    size_bytes=9_787_841_024,
    licence="Apache-2.0",
)
FLUX_VAE = Published(
    label="ae.safetensors",
    source="Comfy-Org/Lumina_Image_2.0_Repackaged/split_files/vae/ae.safetensors",
    size_bytes=335_304_388,
    licence="Apache-2.0",
)
SD3_VAE = Published(
    label="sd3_vae.safetensors",
    source="stabilityai/stable-diffusion-3.5-medium/vae/diffusion_pytorch_model.safetensors",
    size_bytes=167_666_902,
    licence="Stability AI Community",
    gated=True,
)
