"""Settings come back out of the files that other studios write."""

import gzip
import json
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import InvalidRequest, StudioError, TooLarge, Unsupported
from studio.core.records import Picture
from studio.core.requests import MAX_PROMPT_CHARS, dump, parse
from studio.prompts import infotext
from studio.prompts.files.containers import MAX_FILE_BYTES, MAX_TEXT_BYTES
from studio.prompts.foreign import Recovered, recover
from studio.tasks.txt2img import Txt2Img
from tests.prompts.files import exif, hidden, png, png_chunks, saved, unicode_comment

A1111 = (
    "a red fox, (snow:1.2)\nsticker\nNegative prompt: blurry, bad\n"
    "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 1234567890, "
    "Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, RNG: CPU, "
    "Version: v1.10.1"
)
A1111_FIELDS = {
    "prompt": "a red fox, (snow:1.2)\nsticker",
    "negative_prompt": "blurry, bad",
    "steps": 28,
    "sampler": "dpmpp_2m_karras",
    "guidance": 6.5,
    "seed": 1234567890,
    "width": 512,
    "height": 768,
    "clip_skip": 2,
}


def fits(found: Recovered) -> Recovered:
    """`found`, having checked that a request takes its fields as they are."""
    parse(Txt2Img, {"prompt": "x", **found.fields})
    assert found.fields.get("prompt", "") == found.prompt
    assert found.fields.get("negative_prompt", "") == found.negative_prompt
    return found


def notes(found: Recovered) -> str:
    for note in found.notes:
        assert note.endswith("."), note
        assert note[0].isupper() or note[0] == "'", note
    return " ".join(found.notes)


# A1111, Forge, SD.Next


CONTAINERS = {
    "png text": lambda text: png(parameters=text),
    "png compressed": lambda text: png_chunks(
        (b"zTXt", b"parameters\0\0" + zlib.compress(text.encode()))
    ),
    "png international": lambda text: png_chunks(
        (b"iTXt", b"parameters\0\0\0\0\0" + text.encode())
    ),
    "png international compressed": lambda text: png_chunks(
        (b"iTXt", b"parameters\0\1\0en\0x\0" + zlib.compress(text.encode()))
    ),
    "png text in utf-8": lambda text: png_chunks((b"tEXt", b"parameters\0" + text.encode())),
    "png text behind the pixels": lambda text: png_chunks(
        (b"tEXt", b"parameters\0" + text.encode("utf-8")), after_pixels=True
    ),
    "png exif": lambda text: png_chunks(
        (b"eXIf", exif(unicode_comment(text)).tobytes().removeprefix(b"Exif\0\0"))
    ),
    "pixels' alpha": lambda text: hidden("stealth_pnginfo", text.encode()),
    "pixels' alpha, compressed": lambda text: hidden(
        "stealth_pngcomp", gzip.compress(text.encode())
    ),
    "pixels' colours": lambda text: hidden("stealth_rgbinfo", text.encode()),
    "pixels' colours, compressed": lambda text: hidden(
        "stealth_rgbcomp", gzip.compress(text.encode())
    ),
    "jpeg": lambda text: saved("JPEG", exif(unicode_comment(text))),
    "webp": lambda text: saved("WEBP", exif(unicode_comment(text))),
    "jpeg, little-endian": lambda text: saved(
        "JPEG", exif(b"UNICODE\0" + text.encode("utf-16-le"))
    ),
    "jpeg, byte order mark": lambda text: saved("JPEG", exif(b"UNICODE\0" + text.encode("utf-16"))),
    "jpeg, utf-8": lambda text: saved("JPEG", exif(bytes(8) + text.encode())),
    "jpeg, ascii": lambda text: saved("JPEG", exif(b"ASCII\0\0\0" + text.encode())),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a1111s_text_is_found_wherever_it_is_kept(container: str) -> None:
    found = fits(recover(CONTAINERS[container](A1111)))
    assert found.source == "A1111"
    assert dict(found.fields) == A1111_FIELDS
    assert (found.checkpoint_name, found.checkpoint_hash) == ("v1-5-pruned-emaonly", "6ce0161689")
    assert found.notes == ()
    assert found.request is None


@pytest.mark.parametrize("container", CONTAINERS)
def test_any_script_survives(container: str) -> None:
    text = A1111.replace("a red fox", "räv 狐 🦊 «лиса»")
    assert recover(CONTAINERS[container](text)).prompt.startswith("räv 狐 🦊 «лиса», (snow")


@pytest.mark.parametrize(
    ("old", "new", "fields"),
    [
        ("Sampler: DPM++ 2M, Schedule type: Karras", "Sampler: DPM++ 2M Karras", {}),
        ("Schedule type: Karras", "Schedule type: Automatic", {}),
        ("Sampler: DPM++ 2M, Schedule type: Karras", "Sampler: Euler a", {"sampler": "euler_a"}),
        (
            "DPM++ 2M, Schedule type: Karras",
            "Euler, Schedule type: Simple",
            {"sampler": "flow_euler"},
        ),
        ("Clip skip: 2, ", "", {"clip_skip": None}),
        ("Seed: 1234567890, ", "", {"seed": None}),
    ],
)
def test_older_and_newer_spellings(old: str, new: str, fields: dict[str, Any]) -> None:
    expected = {k: v for k, v in (A1111_FIELDS | fields).items() if v is not None}
    found = fits(recover(png(parameters=A1111.replace(old, new))))
    assert dict(found.fields) == expected
    assert found.notes == ()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("Hires upscaler: Latent, Hires steps: 4", "does not say how large"),
        ("Postprocess upscale by: 4, Postprocess upscaler: 4x", "enlarged afterwards"),
        ("Denoising strength: 0.75", "img2img"),
        ("Denoising strength: 0.75, Mask blur: 4", "masked part"),
        ("Face restoration: CodeFormer", "Faces were restored"),
        ("Variation seed: 5, Variation seed strength: 0.3", "variation seed"),
        ('ControlNet 0: "Module: canny, Model: x [abc], Weight: 1"', "is not in the file"),
        ('ADetailer model: face_yolov8n.pt, ADetailer prompt: "a, b"', "ADetailer"),
        ("Tiling: True", "made to tile"),
        ("Token merging ratio: 0.5, Eta: 0.3", "Not used here: Token merging ratio, Eta."),
        ("Emphasis: No norm", "another way"),
    ],
)
def test_what_a1111_did_beyond_is_said(extra: str, words: str) -> None:
    found = recover(png(parameters=A1111.replace("RNG: CPU", f"RNG: CPU, {extra}")))
    assert words in notes(found)
    assert len(found.notes) == 1
    assert dict(found.fields) == A1111_FIELDS


@pytest.mark.parametrize(
    ("extra", "hires"),
    [
        (
            "Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent",
            {"factor": 1.5, "strength": 0.4, "steps": 12, "upscaler": "Latent"},
        ),
        ("Denoising strength: 0.4, Hires resize: 1024x1536", {"factor": 2.0, "strength": 0.4}),
        ("Hires upscale: 2, Hires steps: 0", {"factor": 2.0}),
    ],
)
def test_a_second_pass_is_read(extra: str, hires: dict[str, Any]) -> None:
    found = fits(recover(png(parameters=A1111.replace("RNG: CPU", f"RNG: CPU, {extra}"))))
    assert found.fields["hires"] == hires
    assert found.notes == ()


def test_a_second_pass_stays_within_its_bounds() -> None:
    extra = "Denoising strength: 3, Hires upscale: 9, Hires sampler: Euler"
    found = fits(recover(png(parameters=A1111.replace("RNG: CPU", f"RNG: CPU, {extra}"))))
    assert found.fields["hires"] == {"factor": 4.0, "strength": 1.0}
    assert "Hires factor 9 became 4" in notes(found)
    assert "has those of the first" in notes(found)


def test_how_a_picture_was_painted_over_is_read() -> None:
    extra = (
        "Denoising strength: 0.75, Mask mode: Inpaint not masked, Mask blur: 4, "
        "Inpaint area: Only masked, Masked area padding: 48, Masked content: latent noise"
    )
    found = recover(png(parameters=A1111.replace("RNG: CPU", f"RNG: CPU, {extra}")))
    assert dict(found.over) == {
        "strength": 0.75,
        "feather_px": 4,
        "padding_px": 48,
        "area": "masked",
        "content": "noise",
        "invert": True,
    }
    plain = A1111.replace("RNG: CPU", "RNG: CPU, Denoising strength: 0.3")
    assert dict(recover(png(parameters=plain)).over) == {"strength": 0.3}
    assert dict(recover(png(parameters=A1111)).over) == {}


def test_harmless_keys_are_not_spoken_of() -> None:
    extra = 'Lora hashes: "x: abc", Hashes: {"model": "6ce0161689"}, User: me, Tiling: False'
    assert recover(png(parameters=A1111.replace("RNG: CPU", f"RNG: CPU, {extra}"))).notes == ()


def test_noise_of_another_generator_is_said() -> None:
    for said in ("", "RNG: NV, "):
        found = recover(png(parameters=A1111.replace("RNG: CPU, ", said)))
        assert "seed gives another picture" in notes(found)


def test_vae_and_embeddings_are_named_for_who_knows_what_is_here() -> None:
    more = 'VAE hash: 735e4c3a44, VAE: kl-f8.safetensors, TI hashes: "easynegative: c74b4e810b03"'
    found = fits(recover(png(parameters=f"{A1111}, {more}")))
    assert (found.vae_name, found.embeddings) == ("kl-f8", ("easynegative",))
    assert recover(png(parameters=f"{A1111}, VAE: Automatic")).vae_name is None


def test_loras_stay_in_the_prompt_and_hypernetworks_are_taken_out() -> None:
    text = A1111.replace("a red fox", "a red fox <lora:Pixel Art:0.8> <hypernet:odd:1>")
    text = text.replace("\nNegative prompt: ", "\nNegative prompt: <lora:Pixel Art:1> ")
    text += ', Lora hashes: "Pixel Art: 0123456789AB, other: ff"'
    found = fits(recover(png(parameters=text)))
    assert found.prompt.startswith("a red fox <lora:Pixel Art:0.8>")
    assert found.lora_hashes == {"Pixel Art": "0123456789ab", "other": "ff"}
    assert "hypernet" not in found.prompt
    assert "<" not in found.negative_prompt
    assert "'odd'" in notes(found)


@pytest.mark.parametrize("edit", ["[a:b:0.5]", "[a:10]", "[a|b]", "[::0.3]", "x AND y"])
def test_prompt_editing_is_said(edit: str) -> None:
    found = fits(recover(png(parameters=A1111.replace("a red fox", edit))))
    assert edit in found.prompt
    assert "Prompt editing" in notes(found) or "AND" in notes(found)


def test_brackets_alone_are_not_editing() -> None:
    text = A1111.replace("a red fox", "[fox] [a: b] (x:1.2) [16:9 picture] BRAND SAND")
    assert recover(png(parameters=text)).notes == ()


def test_an_unknown_sampler_or_schedule_is_said() -> None:
    found = fits(recover(png(parameters=A1111.replace("DPM++ 2M", "Restart"))))
    assert "sampler" not in found.fields
    assert "'Restart' is not available" in notes(found)
    found = fits(recover(png(parameters=A1111.replace("Karras", "Align Your Steps"))))
    assert found.fields["sampler"] == "dpmpp_2m"
    assert "'Align Your Steps' schedule" in notes(found)


def test_values_beyond_our_bounds_are_put_within_and_said() -> None:
    text = (
        "x\nSteps: 500, Sampler: Euler, CFG scale: 99.5, Seed: 18446744073709551615, "
        "Size: 16x9000, Clip skip: 50, RNG: CPU"
    )
    found = fits(recover(png(parameters=text)))
    assert dict(found.fields) == {
        "prompt": "x",
        "steps": 150,
        "sampler": "euler",
        "guidance": 30.0,
        "seed": 2**63 - 1,
        "width": 64,
        "height": 2048,
        "clip_skip": 12,
    }
    assert len(found.notes) == 6
    assert "Height 9000 became 2048." in found.notes


@pytest.mark.parametrize("value", ["NaN", "inf", "1e999", "many", "", "9" * 5000, "0x10", "-"])
def test_values_that_are_no_numbers_are_left_out(value: str) -> None:
    text = f"x\nSteps: {value}, Sampler: Euler, CFG scale: {value}, Seed: {value}, RNG: CPU"
    found = fits(recover(png(parameters=text)))
    assert not {"guidance"} & found.fields.keys() or value == "9" * 5000
    assert notes(found) or value == ""


def test_whole_numbers_beyond_any_float_are_put_within() -> None:
    found = fits(recover(png(invokeai_metadata=json.dumps(INVOKE | {"cfg_scale": 10**4000}))))
    assert found.fields["guidance"] == 30.0


def test_a_random_seed_is_left_open() -> None:
    found = recover(png(parameters=A1111.replace("1234567890", "-1")))
    assert "seed" not in found.fields
    assert found.notes == ()


def test_a_prompt_alone_is_a_prompt() -> None:
    found = fits(recover(png(parameters="just a red fox")))
    assert dict(found.fields) == {"prompt": "just a red fox"}
    assert found.notes == ()


def test_a_cameras_comment_is_no_prompt() -> None:
    with pytest.raises(InvalidRequest, match="no settings"):
        recover(saved("JPEG", exif(b"ASCII\0\0\0Holiday in Rome, 2019")))


def test_control_and_bidi_characters_are_stripped_and_said() -> None:
    text = A1111.replace("a red fox", "a\0 \u202ered\u2066 fo\x1bx\r\n").replace("bad", "b\u200fad")
    found = fits(recover(png_chunks((b"iTXt", b"parameters\0\0\0\0\0" + text.encode()))))
    assert found.prompt == "a red fox\n, (snow:1.2)\nsticker"
    assert found.negative_prompt == "blurry, bad"
    assert sum("control characters" in note for note in found.notes) == 2


def test_an_emoji_of_several_keeps_its_joiners() -> None:
    family = "👨\u200d👩\u200d👧"
    assert recover(png(parameters=A1111.replace("a red fox", family))).prompt.startswith(family)


def test_forge_is_recognised() -> None:
    text = A1111.replace("v1.10.1", "f2.0.1v1.10.1-previous-659-gc055f2d4")
    assert recover(png(parameters=text)).source == "Forge"


@pytest.mark.parametrize(("cfg", "said"), [("1", False), ("1.0", False), ("3", True)])
def test_the_guidance_that_flux_was_taught_is_the_one_that_counts(cfg: str, said: bool) -> None:
    text = (
        f"a fox\nSteps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: {cfg}, "
        "Distilled CFG Scale: 2.5, Seed: 5, Size: 896x1152, Model: flux1-dev, Version: f2.0.1"
    )
    found = recover(png(parameters=text))
    assert found.fields["guidance"] == 2.5
    assert any("guidance beside" in note for note in found.notes) == said
    assert not any("Not used" in note for note in found.notes)


def test_sdnext() -> None:
    text = (
        "a red fox\nNegative prompt: bad\nSteps: 20, Size: 640x512, Sampler: UniPC, Seed: 3, "
        "CFG scale: 6, CLiP-skip: 2, Model: dreamshaper_8, Model hash: 879db523c3, "
        "App: SD.Next, Version: 1a2b3c4, Pipeline: StableDiffusionPipeline, "
        "Operations: txt2img, Parser: a1111, Hires strength: 0.4"
    )
    for data in (png(parameters=text), saved("JPEG", exif(unicode_comment(text)))):
        found = fits(recover(data))
        assert found.source == "SD.Next"
        assert dict(found.fields) == {
            "prompt": "a red fox",
            "negative_prompt": "bad",
            "steps": 20,
            "sampler": "unipc",
            "guidance": 6.0,
            "seed": 3,
            "width": 640,
            "height": 512,
            "clip_skip": 2,
        }
        assert "Hires" in notes(found)
        assert found.checkpoint_name == "dreamshaper_8"


# ComfyUI


def comfy_graph() -> dict[str, Any]:
    """The graph that ComfyUI starts with."""
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 156680208700286,
                "steps": 20,
                "cfg": 8,
                "sampler_name": "euler_ancestral",
                "scheduler": "normal",
                "denoise": 1,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
            "_meta": {"title": "KSampler"},
        },
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "sd15\\v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "5": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 512, "height": 640, "batch_size": 1},
        },
        "6": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "beautiful scenery, bottle", "clip": ["4", 1]},
        },
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "watermark", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "C", "images": ["8", 0]}},
    }


COMFY_FIELDS = {
    "prompt": "beautiful scenery, bottle",
    "negative_prompt": "watermark",
    "steps": 20,
    "guidance": 8.0,
    "seed": 156680208700286,
    "sampler": "euler_a",
    "width": 512,
    "height": 640,
}


def comfy(graph: dict[str, Any]) -> Recovered:
    workflow = json.dumps({"nodes": [], "links": [], "version": 0.4})
    return fits(recover(png(prompt=json.dumps(graph), workflow=workflow)))


def test_comfyuis_first_graph() -> None:
    found = comfy(comfy_graph())
    assert found.source == "ComfyUI"
    assert dict(found.fields) == COMFY_FIELDS
    assert found.checkpoint_name == "v1-5-pruned-emaonly-fp16"
    assert found.notes == ()


def test_a_prompt_of_comfyui_that_no_node_holds_is_said() -> None:
    graph = comfy_graph()
    graph["6"]["inputs"]["text"] = ["20", 0]
    graph["20"] = {"class_type": "WordsOfTheDay", "inputs": {"day": 3}}
    found = comfy(graph)
    assert found.prompt == ""
    assert found.notes == (
        "The workflow's prompt was not found: it comes from a node that is not known.",
    )


def test_an_empty_prompt_of_comfyui_was_found() -> None:
    graph = comfy_graph()
    graph["6"]["inputs"]["text"] = ""
    found = comfy(graph)
    assert found.prompt == ""
    assert found.notes == ()


def test_comfyuis_webp() -> None:
    root = {0x0110: "prompt:" + json.dumps(comfy_graph()), 0x010F: "workflow:{}"}
    found = fits(recover(saved("WEBP", exif(root=root))))
    assert dict(found.fields) == COMFY_FIELDS


def test_a_graph_without_workflow_and_with_a_huge_one_is_read() -> None:
    assert recover(png(prompt=json.dumps(comfy_graph()))).source == "ComfyUI"
    huge = json.dumps({"nodes": ["x" * 1_000_000]})
    assert recover(png(prompt=json.dumps(comfy_graph()), workflow=huge)).source == "ComfyUI"


def test_loras_clip_skip_vae_and_controlnet_of_a_graph() -> None:
    graph = comfy_graph()
    graph["10"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "drawn/ink.safetensors",
            "strength_model": 0.8,
            "strength_clip": 0.5,
            "model": ["16", 0],
            "clip": ["11", 0],
        },
    }
    graph["16"] = {
        "class_type": "LoraLoaderModelOnly",
        "inputs": {"lora_name": "few-steps.safetensors", "strength_model": 1, "model": ["17", 0]},
    }
    graph["17"] = {
        "class_type": "Power Lora Loader (rgthree)",
        "inputs": {
            "lora_1": {"on": True, "lora": "moss.safetensors", "strength": 0.6},
            "lora_2": {"on": False, "lora": "off.safetensors", "strength": 1},
            "model": ["4", 0],
        },
    }
    graph["11"] = {
        "class_type": "CLIPSetLastLayer",
        "inputs": {"stop_at_clip_layer": -2, "clip": ["4", 1]},
    }
    graph["12"] = {"class_type": "VAELoader", "inputs": {"vae_name": "kl.safetensors"}}
    graph["13"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {
            "positive": ["6", 0],
            "negative": ["7", 0],
            "control_net": ["14", 0],
            "image": ["15", 0],
        },
    }
    graph["3"]["inputs"] |= {"model": ["10", 0], "positive": ["13", 0], "negative": ["13", 1]}
    for name in ("6", "7"):
        graph[name]["inputs"]["clip"] = ["10", 1]
    found = comfy(graph)
    tags = "<lora:ink:0.5:0.8> <lora:few-steps:0:1> <lora:moss:0.6>"
    prompt = f"{COMFY_FIELDS['prompt']} {tags}"
    assert dict(found.fields) == COMFY_FIELDS | {"clip_skip": 2, "prompt": prompt}
    assert found.checkpoint_name == "v1-5-pruned-emaonly-fp16"
    for words in ("VAE 'kl.safetensors'", "ControlNet"):
        assert words in notes(found)
    assert len(found.notes) == 2


def test_the_guidance_that_flux_was_taught_counts_in_a_graph_too() -> None:
    graph = comfy_graph()
    graph["20"] = {
        "class_type": "FluxGuidance",
        "inputs": {"guidance": 2.5, "conditioning": ["6", 0]},
    }
    graph["3"]["inputs"] |= {"positive": ["20", 0], "cfg": 1}
    assert comfy(graph).fields["guidance"] == 2.5


def test_values_that_other_nodes_hold_are_followed() -> None:
    graph = comfy_graph()
    graph["20"] = {"class_type": "PrimitiveInt", "inputs": {"value": 77}}
    graph["21"] = {"class_type": "Seed (rgthree)", "inputs": {"seed": 99}}
    graph["22"] = {"class_type": "PrimitiveString", "inputs": {"value": "a linked fox"}}
    graph["3"]["inputs"] |= {"steps": ["20", 0], "seed": ["21", 0]}
    graph["6"]["inputs"]["text"] = ["22", 0]
    found = comfy(graph)
    assert dict(found.fields) == COMFY_FIELDS | {"steps": 77, "seed": 99, "prompt": "a linked fox"}


def test_a_second_pass_is_said_and_the_first_is_used() -> None:
    graph = comfy_graph()
    second = json.loads(json.dumps(graph["3"]))
    second["inputs"] |= {"latent_image": ["11", 0], "steps": 7, "denoise": 0.5, "seed": 1}
    graph = {"1": second, **graph}
    graph["11"] = {
        "class_type": "LatentUpscale",
        "inputs": {"samples": ["3", 0], "width": 1024, "height": 1280},
    }
    graph["8"]["inputs"]["samples"] = ["1", 0]
    found = comfy(graph)
    assert dict(found.fields) == COMFY_FIELDS
    assert "2 times" in notes(found)


def test_img2img_of_a_graph_is_said() -> None:
    graph = comfy_graph()
    graph["5"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["30", 0], "vae": ["4", 2]}}
    graph["30"] = {"class_type": "LoadImage", "inputs": {"image": "secret.png"}}
    graph["3"]["inputs"]["denoise"] = 0.6
    found = comfy(graph)
    assert "img2img" in notes(found)
    assert not {"width", "height"} & found.fields.keys()


def test_joined_texts_are_joined_and_said() -> None:
    graph = comfy_graph()
    graph["6"]["inputs"]["text"] = "a fox"
    graph["40"] = {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "in the snow", "clip": ["4", 1]},
    }
    graph["41"] = {
        "class_type": "ConditioningCombine",
        "inputs": {"conditioning_1": ["6", 0], "conditioning_2": ["40", 0]},
    }
    graph["3"]["inputs"]["positive"] = ["41", 0]
    found = comfy(graph)
    assert found.prompt == "a fox, in the snow"
    assert "joined by commas" in notes(found)


def test_an_sdxl_graph_with_the_same_text_twice_says_it_once() -> None:
    graph = comfy_graph()
    graph["6"] = {
        "class_type": "CLIPTextEncodeSDXL",
        "inputs": {"text_g": "a fox", "text_l": "a fox", "width": 1024, "clip": ["4", 1]},
    }
    found = comfy(graph)
    assert found.prompt == "a fox"
    assert found.notes == ()


def test_a_graph_of_separate_sampling_nodes() -> None:
    graph = {
        "1": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["2", 0],
                "guider": ["3", 0],
                "sampler": ["4", 0],
                "sigmas": ["5", 0],
                "latent_image": ["6", 0],
            },
        },
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "3": {
            "class_type": "CFGGuider",
            "inputs": {"cfg": 4.5, "model": ["7", 0], "positive": ["8", 0], "negative": ["9", 0]},
        },
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
        "5": {
            "class_type": "BasicScheduler",
            "inputs": {"scheduler": "karras", "steps": 12, "denoise": 1, "model": ["7", 0]},
        },
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "x/model.safetensors"}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["10", 0]}},
        "9": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["8", 0]}},
    }
    found = comfy(graph)
    assert dict(found.fields) == {
        "prompt": "a fox",
        "steps": 12,
        "sampler": "dpmpp_2m_karras",
        "guidance": 4.5,
        "seed": 5,
        "width": 1024,
        "height": 1024,
    }
    assert found.checkpoint_name == "model"


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected", "said"),
    [
        ("euler", "normal", "euler", False),
        ("euler", "karras", "euler_karras", False),
        ("dpmpp_2m_sde_gpu", "karras", "dpmpp_2m_sde_karras", False),
        ("dpmpp_2m_sde", "exponential", "dpmpp_2m_sde_exponential", False),
        ("uni_pc_bh2", "simple", "unipc", False),
        ("ddim", "ddim_uniform", "ddim", True),
        ("lcm", "sgm_uniform", "lcm", True),
        ("euler_ancestral", "karras", "euler_a", True),
        ("dpmpp_3m_sde", "karras", "dpmpp_2m_sde_karras", True),
        ("euler_cfg_pp", "karras", "euler_karras", True),
        ("restart", "karras", None, True),
    ],
)
def test_comfyuis_samplers(sampler: str, schedule: str, expected: str | None, said: bool) -> None:
    graph = comfy_graph()
    graph["3"]["inputs"] |= {"sampler_name": sampler, "scheduler": schedule}
    found = comfy(graph)
    assert found.fields.get("sampler") == expected
    assert bool(found.notes) == said


def test_a_graph_that_bites_its_tail() -> None:
    graph = comfy_graph()
    graph["3"]["inputs"] |= {"latent_image": ["3", 0], "steps": ["3", 0], "model": ["3", 0]}
    graph["6"]["inputs"]["text"] = ["6", 0]
    graph["7"]["inputs"]["text"] = ["99", 0]
    found = comfy(graph)
    assert "steps" not in found.fields
    assert found.prompt == ""


def test_a_graph_of_nothing_but_samplers_is_read_at_once() -> None:
    graph = {
        str(n): {
            "class_type": "KSampler",
            "inputs": {"sampler_name": "euler", "steps": 1, "latent_image": [str(n + 1), 0]},
        }
        for n in range(4000)
    }
    started = time.process_time()
    comfy(graph)
    assert time.process_time() - started < 2


# Others


INVOKE = {
    "generation_mode": "txt2img",
    "positive_prompt": "a lighthouse at dusk",
    "negative_prompt": "people",
    "width": 512,
    "height": 768,
    "seed": 4242,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "cfg_rescale_multiplier": 0,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 0,
    "seamless_x": False,
    "model": {
        "key": "4e2c",
        "hash": "blake3:" + "ab" * 32,
        "name": "Dreamshaper 8",
        "base": "sd-1",
        "type": "main",
    },
    "app_version": "5.4.2",
}


def test_invokeai() -> None:
    data = png(invokeai_metadata=json.dumps(INVOKE), invokeai_workflow="{}", invokeai_graph="{}")
    found = fits(recover(data))
    assert found.source == "InvokeAI"
    assert dict(found.fields) == {
        "prompt": "a lighthouse at dusk",
        "negative_prompt": "people",
        "steps": 30,
        "guidance": 7.5,
        "seed": 4242,
        "width": 512,
        "height": 768,
        "clip_skip": 1,
        "sampler": "dpmpp_2m_karras",
    }
    assert (found.checkpoint_name, found.checkpoint_hash) == ("Dreamshaper 8", None)
    assert found.notes == ()


def test_loras_of_invokeai_are_tags() -> None:
    loras = [
        {"model": {"name": "ink"}, "weight": 0.7},
        {"lora": {"model_name": "old ink"}, "weight": "much"},
    ]
    found = fits(recover(png(invokeai_metadata=json.dumps(INVOKE | {"loras": loras}))))
    assert found.prompt == "a lighthouse at dusk <lora:ink:0.7> <lora:old ink:1>"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"controlnets": [{}]}, "ControlNet"),
        ({"ipAdapters": [{}]}, "another that is not in the file"),
        ({"refiner_model": {"name": "xl"}}, "choose one under Extras"),
        ({"hrf_enabled": True}, "high-resolution pass was left out"),
        ({"generation_mode": "sdxl_img2img", "strength": 0.5}, "img2img"),
        ({"vae": {"name": "kl"}}, "VAE 'kl'"),
        ({"rand_device": "cuda"}, "another generator"),
        ({"seamless_x": True}, "tile"),
        ({"positive_prompt": "a fox++ (in snow)1.2"}, "InvokeAI's weights"),
        ({"scheduler": "dpmpp_3m_k"}, "'dpmpp_3m_k' is not available here; DPM++ 2M Karras"),
        ({"scheduler": "unipc_k"}, "UniPC has no 'karras' schedule"),
        ({"scheduler": "new_one"}, "'new_one' is not available here."),
    ],
)
def test_what_invokeai_did_beyond_is_said(change: dict[str, Any], words: str) -> None:
    found = fits(recover(png(invokeai_metadata=json.dumps(INVOKE | change))))
    assert words in notes(found)
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ("ddim", "ddim"),
        ("euler", "euler"),
        ("euler_k", "euler_karras"),
        ("euler_a", "euler_a"),
        ("kdpm_2", "dpm2"),
        ("kdpm_2_a_k", "dpm2_a_karras"),
        ("unipc", "unipc"),
        ("lms_k", "lms_karras"),
        ("pndm", "plms"),
        ("deis", "deis"),
        ("lcm", "lcm"),
        ("tcd", "tcd"),
        ("dpmpp_sde_k", "dpmpp_sde_karras"),
    ],
)
def test_invokeais_schedulers(scheduler: str, expected: str) -> None:
    found = recover(png(invokeai_metadata=json.dumps(INVOKE | {"scheduler": scheduler})))
    assert found.fields["sampler"] == expected
    assert found.notes == ()


def test_invokeai_of_old() -> None:
    image = {
        "prompt": [{"prompt": "a fox [blurry, bad]", "weight": 1.0}],
        "type": "txt2img",
        "steps": 50,
        "cfg_scale": 7.5,
        "seed": 9,
        "width": 512,
        "height": 448,
        "sampler": "k_euler_a",
    }
    data = {
        "model_weights": "stable-diffusion-1.5",
        "model_hash": "cc6cb27103417325",
        "image": image,
    }
    fields = {
        "prompt": "a fox",
        "negative_prompt": "blurry, bad",
        "steps": 50,
        "guidance": 7.5,
        "seed": 9,
        "width": 512,
        "height": 448,
        "sampler": "euler_a",
    }
    dream = '"a fox [blurry, bad]" -s 50 -S 9 -W 512 -H 448 -C 7.5 -A k_euler_a'
    found = fits(recover(png(sd__metadata=json.dumps(data), Dream=dream)))
    assert dict(found.fields) == fields
    assert found.checkpoint_name == "stable-diffusion-1.5"
    assert dict(fits(recover(png(Dream=dream))).fields) == fields


FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "full_negative_prompt": ["ugly", "unrealistic"],
    "full_prompt": ["cinematic still a cat", "masterpiece"],
    "guidance_scale": 4,
    "lora_combined_1": "sd_xl_offset_example-lora_1.0 : 0.1",
    "loras": [["sd_xl_offset_example-lora_1.0", 0.1, "4852686128"]],
    "metadata_scheme": "fooocus",
    "negative_prompt": "ugly",
    "performance": "Speed",
    "prompt": "a cat",
    "resolution": "(1152, 896)",
    "sampler": "dpmpp_2m_sde_gpu",
    "scheduler": "karras",
    "seed": "4051917829402113280",
    "sharpness": 2,
    "steps": 30,
    "styles": "['Fooocus V2', 'Fooocus Enhance']",
    "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}
FOOOCUS_FIELDS = {
    "prompt": "a cat <lora:sd_xl_offset_example-lora_1.0:0.1>",
    "negative_prompt": "ugly",
    "steps": 30,
    "guidance": 4.0,
    "seed": 4051917829402113280,
    "width": 1152,
    "height": 896,
    "sampler": "dpmpp_2m_sde_karras",
}


def test_fooocus_own_scheme() -> None:
    text = json.dumps(FOOOCUS)
    root = {0x9286: text, 0x0131: "Fooocus v2.5.5", 0x927C: "fooocus"}
    for data in (png(parameters=text, fooocus_scheme="fooocus"), saved("JPEG", exif(root=root))):
        found = fits(recover(data))
        assert found.source == "Fooocus"
        assert dict(found.fields) == FOOOCUS_FIELDS
        assert found.checkpoint_name == "juggernautXL_v8Rundiffusion"
        assert found.checkpoint_hash == "aeb7e9e689"
        assert "Fooocus V2, Fooocus Enhance" in notes(found)


def test_fooocus_scheme_of_a1111() -> None:
    text = (
        "cinematic still a cat, masterpiece\nNegative prompt: ugly, unrealistic\n"
        "Steps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 4051917829402113280, Size: 1152x896, "
        "CFG scale: 4, Sharpness: 2, "
        'ADM Guidance: "(1.5, 0.8, 0.3)", Model: juggernautXL_v8Rundiffusion, '
        "Model hash: aeb7e9e689, Performance: Speed, Scheduler: karras, VAE: Default (model), "
        "Raw prompt: a cat, Raw negative prompt: ugly, "
        'Lora hashes: "sd_xl_offset_example-lora_1.0: 4852686128", '
        'Lora weights: "sd_xl_offset_example-lora_1.0: 0.1", Version: Fooocus v2.5.5'
    )
    root = {0x9286: text, 0x0131: "Fooocus v2.5.5", 0x927C: "a1111"}
    for data in (png(parameters=text, fooocus_scheme="a1111"), saved("JPEG", exif(root=root))):
        found = fits(recover(data))
        assert found.source == "Fooocus"
        assert dict(found.fields) == FOOOCUS_FIELDS


def test_swarmui() -> None:
    data = {
        "sui_image_params": {
            "prompt": "a photo of a cat <segment:face> happy",
            "negativeprompt": "dog",
            "model": "OfficialStableDiffusion/sd_xl_base_1.0",
            "seed": 1,
            "steps": "20",
            "cfgscale": "7.0",
            "aspectratio": "1:1",
            "width": 1024,
            "height": 768,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "clipstopatlayer": "-2",
            "loras": "ink,pixel",
            "loraweights": "1,0.5",
            "swarm_version": "0.9.3.1",
        },
        "sui_extra_data": {"date": "2024-11-13"},
        "sui_models": [{"name": "sd_xl_base_1.0", "param": "model", "hash": "0x" + "ab" * 32}],
    }
    text = json.dumps(data, indent=2)
    for file in (png(parameters=text), saved("JPEG", exif(unicode_comment(text)))):
        found = fits(recover(file))
        assert found.source == "SwarmUI"
        assert dict(found.fields) == {
            "prompt": "a photo of a cat <segment:face> happy <lora:ink:1> <lora:pixel:0.5>",
            "negative_prompt": "dog",
            "steps": 20,
            "guidance": 7.0,
            "seed": 1,
            "width": 1024,
            "height": 768,
            "clip_skip": 2,
            "sampler": "dpmpp_2m_karras",
        }
        assert found.checkpoint_name == "sd_xl_base_1.0"
        assert "<tags>" in notes(found)


def test_novelai() -> None:
    comment = {
        "prompt": "1girl, {fox ears}",
        "steps": 28,
        "height": 1216,
        "width": 832,
        "scale": 5.0,
        "uc": "lowres",
        "seed": 3711592432,
        "sampler": "k_euler_ancestral",
        "noise_schedule": "native",
        "request_type": "PromptGenerateRequest",
    }
    data = png(
        Title="AI generated image",
        Description="1girl, {fox ears}",
        Software="NovelAI",
        Source="NovelAI Diffusion V3 7BCCAA2C",
        Comment=json.dumps(comment),
    )
    found = fits(recover(data))
    assert found.source == "NovelAI"
    assert dict(found.fields) == {
        "prompt": "1girl, {fox ears}",
        "negative_prompt": "lowres",
        "steps": 28,
        "guidance": 5.0,
        "seed": 3711592432,
        "width": 832,
        "height": 1216,
        "sampler": "euler_a",
    }
    assert "NovelAI" in notes(found)
    comment |= {
        "v4_prompt": {
            "caption": {"base_caption": "a fox", "char_captions": [{"char_caption": "x"}]}
        },
        "v4_negative_prompt": {"caption": {"base_caption": "bad"}},
        "noise_schedule": "karras",
        "sampler": "k_dpmpp_2m",
    }
    found = fits(recover(png(Software="NovelAI", Comment=json.dumps(comment))))
    assert (found.prompt, found.negative_prompt) == ("a fox", "bad")
    assert found.fields["sampler"] == "dpmpp_2m_karras"
    assert "single characters" in notes(found)
    story = {"Software": "NovelAI", "Comment": json.dumps(comment), "Generation time": 3.5}
    concealed = hidden("stealth_pngcomp", gzip.compress(json.dumps(story).encode()))
    assert recover(concealed) == found, "where a chat took the texts away"


@pytest.mark.parametrize(
    "data",
    [
        hidden("stealth_pnginfo", b""),
        hidden("stealth_pngcomp", b"no gzip"),
        hidden("stealth_pnginfo", b"x" * 4096, size=(16, 16)),  # cut off
        hidden("stealth_pnginfo", b"{}"),
        hidden("stealth_pngxxxx", b"a fox"),
        hidden("stealth_pnginfo", b"a fox")[:-200],
        png(),
    ],
)
def test_pixels_that_hide_nothing_are_pixels(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no settings"):
        recover(data)


def test_what_is_hidden_is_bounded_and_texts_come_first() -> None:
    with pytest.raises(TooLarge, match="too long"):
        recover(hidden("stealth_pngcomp", gzip.compress(bytes(600 * 1024))))
    data = hidden("stealth_pnginfo", b"a boat")
    at = data.index(b"IDAT") - 4
    body = b"parameters\0a fox"
    text = (
        struct.pack(">I", len(body))
        + b"tEXt"
        + body
        + struct.pack(">I", zlib.crc32(b"tEXt" + body))
    )
    assert recover(data[:at] + text + data[at:]).prompt == "a fox"


# Our own


def story(**changes: Any) -> dict[str, Any]:
    request = dump(
        parse(
            Txt2Img,
            {
                "prompt": "a fox\nSteps: 999, Seed: 1, Size: 1x1\nNegative prompt: forged",
                "negative_prompt": "bad",
                "checkpoint": "fox-v1",
                "width": 512,
                "height": 512,
                "steps": 20,
                "guidance": 7.0,
                "sampler": "euler_a",
                "seed": 10,
                "count": 4,
                "clip_skip": 1,
            },
        )
    )
    facts = {"checkpoint": {"id": "fox-v1", "sha256": "ab" * 32, "short": "ab" * 5}, "rng": "CPU"}
    own = {
        "version": 1,
        "task": "txt2img",
        "request": request,
        "seed": 12,
        "index": 2,
        "facts": facts,
    }
    return own | changes


def own_png(own: dict[str, Any]) -> bytes:
    picture = Picture(index=2, seed=12, width=512, height=512, pixels=b"", facts=own["facts"])
    text = infotext.write("txt2img", own["request"], picture)
    return png_chunks(
        (b"tEXt", b"parameters\0" + text.encode()),
        (b"iTXt", b"pochade\0\0\0\0\0" + json.dumps(own).encode()),
    )


def test_how_weights_were_kept_comes_back() -> None:
    own = story()
    own["request"]["weights"] = "fp8"
    assert fits(recover(own_png(own))).fields["weights"] == "fp8"
    own["request"]["weights"] = "in the attic"
    assert "weights" not in fits(recover(own_png(own))).fields


def test_what_drew_nothing_has_no_seed() -> None:
    asked = {"image": "0" * 64, "preprocessor": "canny", "params": {}}
    found = recover(own_png(story(task="preprocess", request=asked, seed=0)))
    assert "seed" not in found.fields and found.request == asked


def test_our_own_record_is_whole_whatever_the_prompt_says() -> None:
    own = story()
    found = fits(recover(own_png(own)))
    assert found.source == "Pochade"
    assert found.task == "txt2img"
    assert found.request == own["request"]
    assert found.prompt == own["request"]["prompt"]
    assert found.fields["seed"] == 12
    assert found.fields["steps"] == 20
    assert found.fields["sampler"] == "euler_a"
    assert found.fields["weights"] == "planned"
    assert (found.checkpoint_name, found.checkpoint_hash) == ("fox-v1", "ab" * 32)
    assert found.notes == ()


@pytest.mark.parametrize(
    "chunk", [b"{", b"[]", b"null", b'{"request": 1}', b'{"request": "x"}', b"\xff", b"["]
)
def test_a_damaged_record_gives_way_to_the_text_beside_it(chunk: bytes) -> None:
    data = png_chunks(
        (b"iTXt", b"pochade\0\0\0\0\0" + chunk), (b"tEXt", b"parameters\0" + A1111.encode())
    )
    found = fits(recover(data))
    assert dict(found.fields) == A1111_FIELDS
    assert "damaged" in notes(found)


def test_a_forged_record_is_put_within_bounds() -> None:
    forged = story(
        request={
            "prompt": ["x"],
            "negative_prompt": {"a": 1},
            "steps": 10**9,
            "guidance": float("nan"),
            "width": True,
            "height": [1],
            "sampler": 5,
            "seed": [1],
            "checkpoint": "../../etc/passwd",
            "extra": {"a": "b"},
        },
        seed="12",
        task=None,
    )
    found = fits(recover(png_chunks((b"iTXt", b"pochade\0\0\0\0\0" + json.dumps(forged).encode()))))
    assert dict(found.fields) == {"seed": 12, "steps": 150}
    assert found.checkpoint_name == "../../etc/passwd"
    assert len(found.notes) == 5


# Files that mean harm, or nothing


@pytest.mark.parametrize(
    "data",
    [
        png(),
        png(Comment="made with a camera", Software="Photos", Description="x"),
        png(Comment='{"a": 1}'),
        png(prompt="not a graph"),
        png(prompt="{}"),
        png(prompt='{"1": {"inputs": {"a": 1}}, "2": [], "3": {"inputs": 5}}'),
        png(invokeai_metadata="[1]"),
        png(Dream="no quotes"),
        png(sd__metadata="{}"),
        png(parameters='{"unknown": "json"}'),
        saved("JPEG", exif()),
        saved("WEBP", exif()),
    ],
    ids=range(12),
)
def test_a_picture_without_settings_says_so(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no settings"):
        recover(data)


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a", b"<svg onload=alert(1)>", b"\x89PNG", b"RIFF\0\0\0\0WAVE", b"BM", b"\0" * 99],
)
def test_another_kind_of_file_is_refused(data: bytes) -> None:
    with pytest.raises(Unsupported):
        recover(data)


def test_bombs_are_refused_and_never_unpacked() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    for chunk in (
        (b"zTXt", b"parameters\0\0" + bomb),
        (b"iTXt", b"parameters\0\1\0\0\0" + bomb),
        (b"tEXt", b"prompt\0" + b"x" * (MAX_TEXT_BYTES + 1)),
    ):
        started = time.process_time()
        with pytest.raises(TooLarge):
            recover(png_chunks(chunk))
        assert time.process_time() - started < 0.5
    with pytest.raises(TooLarge, match="64 KB"):
        recover(png(parameters="x" * 70_000))
    with pytest.raises(TooLarge, match="64 MB"):
        recover(png() + bytes(MAX_FILE_BYTES))
    with pytest.raises(TooLarge):
        recover(saved("WEBP", exif(b"ASCII\0\0\0" + b"x" * (MAX_TEXT_BYTES + 1))))


def test_a_picture_of_any_size_is_read_without_its_pixels() -> None:
    plain = png(parameters=A1111)
    at = plain.index(b"IHDR")
    huge = plain[: at + 4] + struct.pack(">II", 30_000, 30_000) + plain[at + 12 :]
    assert dict(recover(huge).fields) == A1111_FIELDS


def test_a_file_that_was_cut_off_still_tells() -> None:
    plain = png(parameters=A1111)
    assert dict(recover(plain[: plain.index(b"IDAT") + 6]).fields) == A1111_FIELDS


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_json_is_no_settings(nested: str) -> None:
    for key in ("prompt", "invokeai_metadata", "pochade", "Comment", "sd__metadata"):
        with pytest.raises(InvalidRequest):
            recover(png(**{key: '{"a":' + nested}))


def test_an_endless_prompt_is_cut_and_said() -> None:
    found = fits(recover(png(parameters=A1111.replace("a red fox", "fox " * 5000))))
    assert len(found.prompt) <= MAX_PROMPT_CHARS
    assert "was cut" in notes(found)


def test_hostile_names_stay_short_and_printable() -> None:
    name = "<img src=x onerror=alert(1)>\u202e\n" + "x" * 5000
    text = f"<lora:{'n' * 5000}:1>\nSteps: 1, Sampler: {name}, Seed: 1, Model: {name}, VAE: {name}"
    found = fits(recover(png(parameters=text.replace("\n" + "x", "x"))))
    for note in found.notes:
        assert len(note) < 200
        assert note.isprintable()
    assert found.checkpoint_name is None or len(found.checkpoint_name) <= 200


def test_many_notes_are_not_endless() -> None:
    tags = "".join(f"<hypernet:x{n}:1>" for n in range(500))
    found = recover(png(parameters=A1111.replace("a red fox", tags)))
    assert 10 < len(found.notes) < 30


SAMPLES = {name: make(A1111) for name, make in CONTAINERS.items()} | {
    "comfy": png(prompt=json.dumps(comfy_graph())),
    "invoke": png(invokeai_metadata=json.dumps(INVOKE)),
    "fooocus": png(parameters=json.dumps(FOOOCUS)),
    "own": own_png(story()),
}


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(sorted(SAMPLES)))
def test_a_damaged_file_is_read_or_refused_in_words(data: st.DataObject, name: str) -> None:
    broken = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    try:
        fits(recover(bytes(broken[: cut or None])))
    except StudioError as error:
        assert error.message


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = sorted({*INVOKE, *FOOOCUS, "sui_image_params", "image", "uc", "v4_prompt", "request"})


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(_KEYS), _values, max_size=8),
    st.sampled_from(["invokeai_metadata", "parameters", "Comment", "sd__metadata", "pochade"]),
)
def test_any_json_is_read_or_refused_in_words(values: dict[str, Any], key: str) -> None:
    for data in (values, {"sui_image_params": values, "image": values, "request": values}):
        try:
            fits(recover(png(**{key: json.dumps(data)})))
        except StudioError as error:
            assert error.message


@settings(max_examples=200)
@given(st.data())
def test_any_graph_is_read_or_refused_in_words(data: st.DataObject) -> None:
    graph = comfy_graph()
    links = st.tuples(st.sampled_from([*graph, "x"]), st.integers(0, 2)).map(list)
    for _ in range(data.draw(st.integers(1, 6))):
        inputs = graph[data.draw(st.sampled_from(sorted(graph)))]["inputs"]
        key = data.draw(st.sampled_from(["text", "steps", "seed", "latent_image", "model", "clip"]))
        inputs[key] = data.draw(links | _values)
    try:
        fits(recover(png(prompt=json.dumps(graph))))
    except StudioError as error:
        assert error.message
