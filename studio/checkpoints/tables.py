"""What the makers of transformers call their layers, and what diffusers has for each: data alone.

`#` stands for the number of a block. Where one layer of theirs is several of diffusers', its rows are
those of them in that order. Qwen-Image is missing because diffusers kept its makers' names.
"""

from collections.abc import Mapping

Table = Mapping[str, tuple[str, ...]]
"""Layers of diffusers', by the name of the one that they are in the original."""

_QKV = ("to_q", "to_k", "to_v")
_ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")

_FLUX: Table = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    **{
        f"{old}.{side}_layer": (f"time_text_embed.{new}.linear_{number}",)
        for old, new in (
            ("time_in", "timestep_embedder"),
            ("vector_in", "text_embedder"),
            ("guidance_in", "guidance_embedder"),
        )
        for side, number in (("in", 1), ("out", 2))
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "double_blocks.#.img_mod.lin": ("transformer_blocks.#.norm1.linear",),
    "double_blocks.#.txt_mod.lin": ("transformer_blocks.#.norm1_context.linear",),
    "double_blocks.#.img_attn.qkv": tuple(f"transformer_blocks.#.attn.{n}" for n in _QKV),
    "double_blocks.#.txt_attn.qkv": tuple(f"transformer_blocks.#.attn.{n}" for n in _ADDED),
    "double_blocks.#.img_attn.proj": ("transformer_blocks.#.attn.to_out.0",),
    "double_blocks.#.txt_attn.proj": ("transformer_blocks.#.attn.to_add_out",),
    "double_blocks.#.img_attn.norm.query_norm": ("transformer_blocks.#.attn.norm_q",),
    "double_blocks.#.img_attn.norm.key_norm": ("transformer_blocks.#.attn.norm_k",),
    "double_blocks.#.txt_attn.norm.query_norm": ("transformer_blocks.#.attn.norm_added_q",),
    "double_blocks.#.txt_attn.norm.key_norm": ("transformer_blocks.#.attn.norm_added_k",),
    "double_blocks.#.img_mlp.0": ("transformer_blocks.#.ff.net.0.proj",),
    "double_blocks.#.img_mlp.2": ("transformer_blocks.#.ff.net.2",),
    "double_blocks.#.txt_mlp.0": ("transformer_blocks.#.ff_context.net.0.proj",),
    "double_blocks.#.txt_mlp.2": ("transformer_blocks.#.ff_context.net.2",),
    "single_blocks.#.modulation.lin": ("single_transformer_blocks.#.norm.linear",),
    "single_blocks.#.linear1": (
        *(f"single_transformer_blocks.#.attn.{n}" for n in _QKV),
        "single_transformer_blocks.#.proj_mlp",
    ),
    "single_blocks.#.linear2": ("single_transformer_blocks.#.proj_out",),
    "single_blocks.#.norm.query_norm": ("single_transformer_blocks.#.attn.norm_q",),
    "single_blocks.#.norm.key_norm": ("single_transformer_blocks.#.attn.norm_k",),
}

_SD3: Table = {
    "x_embedder.proj": ("pos_embed.proj",),
    "context_embedder": ("context_embedder",),
    **{
        f"{old}.mlp.{place}": (f"time_text_embed.{new}.linear_{number}",)
        for old, new in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder"))
        for place, number in ((0, 1), (2, 2))
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    **{
        f"joint_blocks.#.{old}": tuple(f"transformer_blocks.#.{layer}" for layer in new)
        for old, new in {
            "x_block.attn.qkv": tuple(f"attn.{n}" for n in _QKV),
            "context_block.attn.qkv": tuple(f"attn.{n}" for n in _ADDED),
            "x_block.attn2.qkv": tuple(f"attn2.{n}" for n in _QKV),
            "x_block.attn.proj": ("attn.to_out.0",),
            "context_block.attn.proj": ("attn.to_add_out",),
            "x_block.attn2.proj": ("attn2.to_out.0",),
            "x_block.attn.ln_q": ("attn.norm_q",),
            "x_block.attn.ln_k": ("attn.norm_k",),
            "x_block.attn2.ln_q": ("attn2.norm_q",),
            "x_block.attn2.ln_k": ("attn2.norm_k",),
            "context_block.attn.ln_q": ("attn.norm_added_q",),
            "context_block.attn.ln_k": ("attn.norm_added_k",),
            "x_block.adaLN_modulation.1": ("norm1.linear",),
            "context_block.adaLN_modulation.1": ("norm1_context.linear",),
            "x_block.mlp.fc1": ("ff.net.0.proj",),
            "x_block.mlp.fc2": ("ff.net.2",),
            "context_block.mlp.fc1": ("ff_context.net.0.proj",),
            "context_block.mlp.fc2": ("ff_context.net.2",),
        }.items()
    },
}

_FLUX2: Table = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    **{
        f"{old}_in.{side}_layer": (f"time_guidance_embed.{new}_embedder.linear_{number}",)
        for old, new in (("time", "timestep"), ("guidance", "guidance"))
        for side, number in (("in", 1), ("out", 2))
    },
    **{
        f"{stream}.lin": (f"{stream}.linear",)
        for stream in (
            *("double_stream_modulation_img", "double_stream_modulation_txt"),
            "single_stream_modulation",
        )
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    **{
        f"double_blocks.#.{old}": tuple(f"transformer_blocks.#.{layer}" for layer in new)
        for old, new in {
            "img_attn.qkv": tuple(f"attn.{n}" for n in _QKV),
            "txt_attn.qkv": tuple(f"attn.{n}" for n in _ADDED),
            "img_attn.proj": ("attn.to_out.0",),
            "txt_attn.proj": ("attn.to_add_out",),
            "img_mlp.0": ("ff.linear_in",),
            "img_mlp.2": ("ff.linear_out",),
            "txt_mlp.0": ("ff_context.linear_in",),
            "txt_mlp.2": ("ff_context.linear_out",),
        }.items()
    },
    "single_blocks.#.linear1": ("single_transformer_blocks.#.attn.to_qkv_mlp_proj",),
    "single_blocks.#.linear2": ("single_transformer_blocks.#.attn.to_out",),
}

_Z_IMAGE: Table = {
    "x_embedder": ("all_x_embedder.2-1",),
    "final_layer.linear": ("all_final_layer.2-1.linear",),
    "final_layer.adaLN_modulation.1": ("all_final_layer.2-1.adaLN_modulation.1",),
    **{
        f"{blocks}.#.attention.{old}": tuple(f"{blocks}.#.attention.{layer}" for layer in new)
        for blocks in ("layers", "noise_refiner", "context_refiner")
        for old, new in {"qkv": _QKV, "out": ("to_out.0",)}.items()
    },
}

_LUMINA2: Table = {
    "t_embedder.mlp.0": ("time_caption_embed.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_caption_embed.timestep_embedder.linear_2",),
    "cap_embedder.1": ("time_caption_embed.caption_embedder.1",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear_1",),
    "final_layer.linear": ("norm_out.linear_2",),
    **{
        f"{blocks}.#.{old}": tuple(f"{blocks}.#.{layer}" for layer in new)
        for blocks in ("layers", "noise_refiner", "context_refiner")
        for old, new in {
            "attention.qkv": tuple(f"attn.{n}" for n in _QKV),
            "attention.out": ("attn.to_out.0",),
            "feed_forward.w1": ("feed_forward.linear_1",),
            "feed_forward.w2": ("feed_forward.linear_2",),
            "feed_forward.w3": ("feed_forward.linear_3",),
            "adaLN_modulation.1": ("norm1.linear",),
        }.items()
    },
}

_ATTENTIONS: Table = {
    "attn.qkv": tuple(f"attn1.{n}" for n in _QKV),
    "attn.proj": ("attn1.to_out.0",),
    "cross_attn.q_linear": ("attn2.to_q",),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": ("attn2.to_out.0",),
}
"""Of a block of PixArt, and of Sana, whose makers began with it."""

_PIXART: Table = {
    "x_embedder.proj": ("pos_embed.proj",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "t_embedder.mlp.0": ("adaln_single.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("adaln_single.emb.timestep_embedder.linear_2",),
    "t_block.1": ("adaln_single.linear",),
    "final_layer.linear": ("proj_out",),
    **{
        f"blocks.#.{old}": tuple(f"transformer_blocks.#.{layer}" for layer in new)
        for old, new in {
            **_ATTENTIONS,
            "mlp.fc1": ("ff.net.0.proj",),
            "mlp.fc2": ("ff.net.2",),
        }.items()
    },
}

_SANA: Table = {
    "x_embedder.proj": ("patch_embed.proj",),
    "y_embedder.y_proj.fc1": ("caption_projection.linear_1",),
    "y_embedder.y_proj.fc2": ("caption_projection.linear_2",),
    "t_embedder.mlp.0": ("time_embed.emb.timestep_embedder.linear_1",),
    "t_embedder.mlp.2": ("time_embed.emb.timestep_embedder.linear_2",),
    "t_block.1": ("time_embed.linear",),
    "final_layer.linear": ("proj_out",),
    **{
        f"blocks.#.{old}": tuple(f"transformer_blocks.#.{layer}" for layer in new)
        for old, new in {
            **_ATTENTIONS,
            "mlp.inverted_conv.conv": ("ff.conv_inverted",),
            "mlp.depth_conv.conv": ("ff.conv_depth",),
            "mlp.point_conv.conv": ("ff.conv_point",),
        }.items()
    },
}

_HUNYUAN: Table = {
    "x_embedder.proj": ("pos_embed.proj",),
    "mlp_t5.0": ("text_embedder.linear_1",),
    "mlp_t5.2": ("text_embedder.linear_2",),
    **{
        f"{old}.{place}": (f"time_extra_emb.{new}.linear_{number}",)
        for old, new in (
            ("t_embedder.mlp", "timestep_embedder"),
            ("extra_embedder", "extra_embedder"),
        )
        for place, number in ((0, 1), (2, 2))
    },
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    **{
        f"blocks.#.{old}": tuple(f"blocks.#.{layer}" for layer in new)
        for old, new in {
            "attn1.Wqkv": tuple(f"attn1.{n}" for n in _QKV),
            "attn1.out_proj": ("attn1.to_out.0",),
            "attn2.q_proj": ("attn2.to_q",),
            "attn2.kv_proj": ("attn2.to_k", "attn2.to_v"),
            "attn2.out_proj": ("attn2.to_out.0",),
            "mlp.fc1": ("ff.net.0.proj",),
            "mlp.fc2": ("ff.net.2",),
            "default_modulation.1": ("norm1.linear",),
        }.items()
    },
}

TABLES: Mapping[str, Table] = {
    "FluxTransformer2DModel": _FLUX,
    "SD3Transformer2DModel": _SD3,
    "Flux2Transformer2DModel": _FLUX2,
    "ZImageTransformer2DModel": _Z_IMAGE,
    "Lumina2Transformer2DModel": _LUMINA2,
    "PixArtTransformer2DModel": _PIXART,
    "SanaTransformer2DModel": _SANA,
    "HunyuanDiT2DModel": _HUNYUAN,
}
"""By diffusers' class."""
