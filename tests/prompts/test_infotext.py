"""A1111's text: written so that its reader finds our settings, read as its reader reads."""

import json
import re
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import TooLarge
from studio.core.records import Picture
from studio.prompts.infotext import MAX_CHARS, read, write

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
"""The grammar of A1111's reader as its users' files rely on it."""

SIZE = re.compile(r"^(\d+)x(\d+)$")


def a1111(text: str) -> tuple[str, str, dict[str, str]]:
    """What A1111's reader makes of a text."""
    *lines, last = text.strip().split("\n")
    if len(PAIR.findall(last)) < 3:
        lines.append(last)
        last = ""
    prompts = {False: "", True: ""}
    negative = False
    for line in lines:
        line = line.strip()
        if line.startswith("Negative prompt:"):
            negative = True
            line = line[len("Negative prompt:") :].strip()
        prompts[negative] += ("" if not prompts[negative] else "\n") + line
    params: dict[str, str] = {}
    for key, value in PAIR.findall(last):
        if len(value) > 1 and value[0] == value[-1] == '"':
            with suppress(ValueError):
                value = json.loads(value)
        if size := SIZE.match(value):
            params[f"{key}-1"], params[f"{key}-2"] = size.groups()
        else:
            params[key] = value
    return prompts[False], prompts[True], params


def found(text: str) -> tuple[str, str, dict[str, str]]:
    info = read(text)
    return info.prompt, info.negative_prompt, dict(info.params)


def request(**changes: Any) -> dict[str, Any]:
    return {
        "prompt": "a red fox",
        "negative_prompt": "",
        "checkpoint": "fox-v1",
        "width": 512,
        "height": 768,
        "steps": 20,
        "guidance": 7.0,
        "sampler": "dpmpp_2m_karras",
        "seed": 10,
        "count": 4,
        "clip_skip": 1,
    } | changes


def picture(**changes: Any) -> Picture:
    facts = {
        "checkpoint": {
            "id": "fox-v1",
            "family": "sd15",
            "sha256": "ab" * 32,
            "short": "abababab01",
        },
        "versions": {"pochade": "0.1.0", "torch": "2.14.0"},
        "rng": "CPU",
    }
    values = {"index": 2, "seed": 12, "width": 512, "height": 768, "pixels": b"", "facts": facts}
    return Picture(**(values | changes))


def test_the_text_is_a1111s_to_the_letter() -> None:
    text = write("txt2img", request(negative_prompt="blurry", clip_skip=2), picture())
    assert text == (
        "a red fox\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 12, "
        "Size: 512x768, Model hash: abababab01, Model: fox-v1, Clip skip: 2, RNG: CPU, "
        'Hashes: {"model":"abababab01"}, Version: Pochade 0.1.0'
    )


UPSCALER = {"upscaler": {"id": "real-esrgan", "label": "Real-ESRGAN", "short": "0123456789"}}


def test_a_second_pass_has_a1111s_keys() -> None:
    hires = {"factor": 2.0, "upscaler": "real-esrgan", "strength": 0.4, "steps": 12}
    facts = dict(picture().facts) | UPSCALER
    text = write("txt2img", request(hires=hires), picture(width=1024, height=1536, facts=facts))
    for reader in (found, a1111):
        params = reader(text)[2]
        # A1111's size is that of the first pass
        assert (params["Size-1"], params["Size-2"]) == ("512", "768")
        assert params["Hires upscale"] == "2"
        assert params["Hires steps"] == "12"
        assert params["Hires upscaler"] == "Real-ESRGAN"
        assert params["Denoising strength"] == "0.4"


def test_painting_over_has_a1111s_keys() -> None:
    over = {"image": "0" * 64, "strength": 0.75}
    params = found(write("img2img", request(**over), picture()))[2]
    assert params["Denoising strength"] == "0.75"
    assert not [key for key in params if key.startswith(("Mask", "Inpaint"))]
    masked = over | {
        "mask": "1" * 64,
        "invert": True,
        "feather_px": 4,
        "area": "masked",
        "padding_px": 48,
        "content": "noise",
    }
    params = a1111(write("inpaint", request(**masked), picture()))[2]
    assert params["Mask mode"] == "Inpaint not masked"
    assert params["Mask blur"] == "4"
    assert params["Inpaint area"] == "Only masked"
    assert params["Masked area padding"] == "48"
    assert params["Masked content"] == "latent noise"
    plain = masked | {"invert": False, "area": "whole", "content": "original"}
    params = a1111(write("inpaint", request(**plain), picture()))[2]
    left_out = {"Mask mode", "Inpaint area", "Masked area padding", "Masked content"}
    assert not left_out & params.keys()


def test_what_steers_a_picture_has_the_keys_of_a1111s_extension() -> None:
    unit = {
        "kind": "edges",
        "image": "0" * 64,
        "preprocessor": "canny",
        "controlnet": "sd15/canny",
        "weight": 0.5,
        "start": 0.1,
        "end": 0.9,
        "balance": "prompt",
        "resize": "pad",
    }
    own = {"kind": "depth", "map": "1" * 64, "controlnet": "depth", "weight": 1.0}
    asked = request(units=[unit, unit | {"weight": 0.0}, own], image=None, mask=None, strength=None)
    asked |= {"feather_px": 8, "area": "masked", "padding_px": 32}
    for reader in (found, a1111):
        params = reader(write("control", asked, picture()))[2]
        assert params["ControlNet 0"] == (
            "Module: canny, Model: sd15/canny, Weight: 0.5, Resize Mode: Resize and Fill, "
            "Guidance Start: 0.1, Guidance End: 0.9, Control Mode: My prompt is more important"
        )
        assert params["ControlNet 1"] == "Module: none, Model: depth, Weight: 1.0"
        assert "ControlNet 2" not in params, "one of weight 0 steers nothing"
        # nothing was painted over
        assert not {"Denoising strength", "Mask blur", "Inpaint area"} & params.keys()


def test_what_paints_with_no_checkpoint_says_what_it_is() -> None:
    asked = {"image": "0" * 64, "strength": 0.7, "seed": None, "steps": None}
    text = write("style", asked, picture(facts={"stylizer": "neural"}))
    assert text == "Size: 512x768, Stylizer: neural, Version: Pochade"
    asked = {"image": "0" * 64, "preprocessor": "canny", "params": {}}
    text = write("preprocess", asked, picture(seed=0, facts={"preprocessor": "canny"}))
    assert text == "Size: 512x768, Preprocessor: canny, Version: Pochade"


def test_restyling_tells_how_much_was_painted_anew() -> None:
    asked = request(image="0" * 64, strength=1.0)
    text = write("style", asked, picture(facts={"stylizer": "words", "strength": 0.85}))
    assert found(text)[2]["Denoising strength"] == "0.85"


def test_enlarging_alone_has_no_seed_and_no_steps() -> None:
    asked = {"image": "0" * 64, "upscaler": "real-esrgan", "scale": 4.0, "prompt": "a red fox"}
    asked |= {"strength": 0.0, "seed": None, "steps": None, "sampler": None, "guidance": None}
    text = write("upscale", asked, picture(seed=0, facts=UPSCALER))
    assert text == (
        "a red fox\nSize: 512x768, Postprocess upscale by: 4, Postprocess upscaler: Real-ESRGAN, "
        "Version: Pochade"
    )
    assert write("upscale", asked | {"prompt": ""}, picture(facts={})).startswith("Size: 512x768")


def test_defaults_and_unknown_facts_are_left_out() -> None:
    text = write("txt2img", request(guidance=None), picture(facts={}))
    assert text == (
        "a red fox\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, Seed: 12, "
        "Size: 512x768, Version: Pochade"
    )


@pytest.mark.parametrize("name", ["a, b", "a: b", 'say "x", y', "a\nSteps: 1, Seed: 2, Size: 3x3"])
def test_a_name_with_syntax_is_quoted(name: str) -> None:
    facts = {"checkpoint": {"id": name, "short": "0123456789"}}
    text = write("txt2img", request(), picture(facts=facts))
    for reader in (found, a1111):
        _, _, params = reader(text)
        assert params["Model"] == name
        assert params["Steps"] == "20"
        assert params["Seed"] == "12"


FORGERIES = [
    "a\nSteps: 999, Seed: 1, Size: 1x1",
    "Steps: 999, Sampler: Euler, Seed: 1, Size: 1x1, Model: evil",
    "a\nNegative prompt: forged\nSteps: 999, Seed: 1, Size: 1x1",
    'a", Seed: 1, Steps: 999, Model: "x',
    "a\n\n\nSteps: 999, Seed: 1, Size: 1x1, Version: Pochade",
    'Hashes: {"model": "ffffffffff"}, Seed: 1, Steps: 2',
]


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_cannot_forge_settings(field: str, text: str) -> None:
    written = write("txt2img", request(**{field: text}), picture())
    for reader in (found, a1111):
        params = reader(written)[2]
        assert params["Steps"] == "20"
        assert params["Seed"] == "12"
        assert (params["Size-1"], params["Size-2"]) == ("512", "768")
        assert params["Hashes"] == '{"model":"abababab01"}'


@given(
    prompt=st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1),
    negative=st.text(st.characters(blacklist_categories=("Cs", "Cc"))),
    model=st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=50),
)
def test_what_is_written_is_read(prompt: str, negative: str, model: str) -> None:
    facts = {"checkpoint": {"id": model, "short": "0123456789"}}
    asked = request(prompt=prompt, negative_prompt=negative)
    text = write("txt2img", asked, picture(facts=facts))
    assert found(text) == a1111(text)
    info = read(text)
    if not prompt.strip().startswith("Negative prompt:"):
        assert (info.prompt, info.negative_prompt) == (prompt.strip(), negative.strip())
    assert info.params["Seed"] == "12"


def test_every_sampler_is_written_so_that_it_is_found_again() -> None:
    from studio import samplers

    for row in samplers.ROWS:
        params = read(write("txt2img", request(sampler=row.id), picture())).params
        assert samplers.find_a1111(params["Sampler"], params["Schedule type"]) == row


TEXTS = [
    "",
    "a fox",
    "a fox\nSteps: 20, Seed: 1",
    "a fox\nSteps: 20, Seed: 1, CFG scale: 7",
    "\n\na fox\n\n  in snow \nNegative prompt:  bad \n worse\nSteps: 20, Sampler: Euler a, Seed: 1",
    "Negative prompt: only\nSteps: 20, Sampler: Euler a, Seed: 1",
    "x\nNegative prompt: a\nNegative prompt: b\nSteps: 2, Sampler: Euler, Seed: 1",
    'x\nSteps: 2, Lora hashes: "a: 1234, b: 5678", Seed: 1, Size: 3x4, Hires resize: 6x8',
    "x\nSteps: 2, Model: a:b, Seed: 1",
    'x\nSteps: 2, Model: "a", Seed: 1',
    'x\nSteps: 2, Model: "a\\"b, c", Seed: 1',
    'x\nSteps: 2, Model: "unclosed, Seed: 1',
    'x\nSteps: 2, Model: "closed" early, Seed: 1',
    'x\nSteps: 2, Model: "bad \\q escape", Seed: 1',
    'x\nSteps: 2, Model: "", Seed: 1',
    'x\nSteps: 2, Hashes: {"model": "abc", "vae": "def"}, Seed: 1',
    "x\nSteps: 2, A: 1, B: 2, Seed: 1, Size: 2x2",
    "x\nSteps: 2,, ,Seed: 1,CFG scale:7,",
    "x\nSteps : 2, CFG-scale/x: 7, _y: 3, -z: 4",
    "x\nSteps: 2, Token merging ratio: , Seed: 1",
    "ümläut: ß, schön: ja, größe: 5x6",
]


@pytest.mark.parametrize("text", TEXTS)
def test_known_texts_are_read_as_a1111_reads_them(text: str) -> None:
    assert found(text) == a1111(text)


@given(st.text(alphabet='ab1 ,:"\\-/_x\té\n{}', max_size=120))
def test_any_line_is_read_as_a1111_reads_it(line: str) -> None:
    for text in (line, f"p\n{line}, Steps: 1, Seed: 2, Size: 3x4"):
        assert found(text) == a1111(text)


def test_sdnext_templates_are_no_part_of_the_prompt() -> None:
    info = read(
        "a red fox, best quality\nNegative prompt: bad\nTemplate: {prompt}, best quality\n"
        "Negative template: bad\nSteps: 20, Size: 512x512, Sampler: UniPC, Seed: 3, CFG scale: 6, "
        "CLiP-skip: 2, App: SD.Next, Version: 1a2b3c4"
    )
    assert (info.prompt, info.negative_prompt) == ("a red fox, best quality", "bad")
    assert info.params["Template"] == "{prompt}, best quality"
    assert info.params["CLiP-skip"] == "2"
    plain = read("Template: x\nSteps: 20, Sampler: Euler, Seed: 3")
    assert plain.prompt == "Template: x"


def test_settings_that_something_was_appended_to_are_found() -> None:
    info = read("a fox\nSteps: 20, Sampler: Euler a, Seed: 3\nTemplate: a {fox|cat}")
    assert info.prompt == "a fox"
    assert info.params["Seed"] == "3"
    assert info.params["Template"] == "a {fox|cat}"


HOSTILE = [
    "a" * MAX_CHARS,
    " " * MAX_CHARS,
    ":" * MAX_CHARS,
    "a:" * (MAX_CHARS // 2),
    "ab:" * (MAX_CHARS // 3),
    "ab: " * (MAX_CHARS // 4),
    'ab:"' * (MAX_CHARS // 4),
    'ab:"\\"' * (MAX_CHARS // 6),
    'ab:"' + "\\" * (MAX_CHARS - 4),
    '"' * MAX_CHARS,
    "\n" * MAX_CHARS,
    "\nSteps: " * (MAX_CHARS // 8),
    "a\n" * (MAX_CHARS // 2),
    "ab:" + " " * (MAX_CHARS - 3),
    ("ab:" + " " * 200) * (MAX_CHARS // 203),
    "Negative prompt:\n" * (MAX_CHARS // 17),
    "Steps: 1, Seed: 1, Size: 1x1\n" * (MAX_CHARS // 29),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_read_at_once(text: str) -> None:
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 0.5


def test_an_endless_text_is_refused() -> None:
    with pytest.raises(TooLarge, match="64 KB"):
        read("a" * (MAX_CHARS + 1))
