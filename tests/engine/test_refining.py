"""A refiner takes over for the last steps: as diffusers' own pair of pipelines paints, and nothing
stays."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from studio import samplers
from studio.app import compose
from studio.checkpoints.catalog import Catalog
from studio.core.errors import InvalidRequest
from studio.core.records import Picture
from studio.costs import machine
from studio.engine import refining
from studio.engine.conditioning import encode
from studio.engine.schedulers import build
from studio.families._family import Role
from studio.prompts import infotext
from studio.service.studio import Studio
from studio.settings import Settings
from studio.ui.widgets import sampling
from tests.checkpoints.files import sparse_of
from tests.engine.desk import REQUEST, Desk
from tests.engine.original import save_configs, save_original, vae
from tests.engine.tiny import save_tiny_sd, save_tiny_sdxl
from tests.engine.tiny_families import TINY

STEPS, AFTER = 4, 0.5
REFINED = {"checkpoint": "xl", "steps": STEPS, "refiner": "last", "refiner_after": AFTER}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint `xl` and its refiner `last`, once as the folder and once as `last-file`."""
    folder = tmp_path_factory.mktemp("refining")
    save_tiny_sdxl(folder / "xl", seed=5)
    TINY["sdxl_refiner"](folder / "last")
    pipeline: Any = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(folder / "last")
    parts = ("unet", "vae", "text_encoder_2")
    networks = {name: getattr(pipeline, name) for name in parts}
    save_original(networks, folder / "last-file.safetensors")
    return folder


@pytest.fixture
def desk(home: Path, make_desk: Callable[..., Desk]) -> Desk:
    return make_desk(home)


def theirs(home: Path, another: Any = None) -> bytes:
    """What diffusers paints by handing latents from one pipeline to the other."""
    first: Any = diffusers.StableDiffusionXLPipeline.from_pretrained(home / "xl")
    last: Any = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(home / "last")
    for pipeline in (first, last):
        pipeline.scheduler = build(samplers.find("euler"), first.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
    asked = {
        "prompt": REQUEST["prompt"],
        "num_inference_steps": STEPS,
        "guidance_scale": REQUEST["guidance"],
        "generator": torch.Generator("cpu").manual_seed(REQUEST["seed"]),
        "output_type": "latent",
    }
    latents = first(width=64, height=64, denoising_end=AFTER, **asked).images
    latents = last(image=latents, denoising_start=AFTER, **asked).images
    with torch.no_grad():
        pixels = (another or first.vae).decode(latents / first.vae.config.scaling_factor).sample
    [image] = first.image_processor.postprocess(pixels, output_type="pil")
    return image.tobytes()


def test_it_paints_what_two_pipelines_of_diffusers_paint(desk: Desk, home: Path) -> None:
    [ours] = desk.paint(**REFINED)
    difference = np.frombuffer(ours, np.uint8).astype(int) - np.frombuffer(theirs(home), np.uint8)
    assert abs(difference).max() <= 1
    [without] = desk.paint(**{**REFINED, "refiner": ""})
    assert ours != without


def test_the_same_again_is_the_same_and_weights_stay_what_they_are(desk: Desk) -> None:
    first = desk.paint(**REFINED, count=2)
    held = desk.held()
    assert desk.paint(**REFINED, count=2) == first
    assert desk.paint(**{**REFINED, "seed": 8}) == first[1:]
    assert desk.held() == held and not desk.leases
    assert set(desk.runner.manager.kept) == {"xl", "last"}
    assert desk.frames("loading") == []
    [frame] = desk.frames("picture")
    told = frame["facts"]["refiner"]
    assert (told["id"], told["after"]) == ("last", AFTER) and len(told["sha256"]) == 64
    steps = [(frame["step"], frame["steps"]) for frame in desk.frames("progress")]
    assert steps == [(n, STEPS) for n in range(1, STEPS + 1)]


def test_a_single_file_is_the_same_refiner(
    desk: Desk, home: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    """For the last steps, and as a checkpoint of its own over a picture."""
    save_configs(home / "last", tmp_path, "sdxl_refiner")
    single = make_desk(home, tmp_path)
    assert single.paint(**{**REFINED, "refiner": "last-file"}) == desk.paint(**REFINED)
    ref = desk.put(Image.new("RGB", (64, 64), "teal"), tmp_path)
    over: dict[str, Any] = {"task": "img2img", "image": ref, "strength": 0.5}
    [theirs_], [plain] = (desk.paint(**over, checkpoint=name) for name in ("last", "xl"))
    assert single.put(Image.new("RGB", (64, 64), "teal"), tmp_path) == ref
    assert single.paint(**over, checkpoint="last-file") == [theirs_] != [plain]


def test_it_hears_the_share_of_the_steps_that_are_taken(desk: Desk, tmp_path: Path) -> None:
    ref = desk.put(Image.new("RGB", (64, 64), "teal"), tmp_path)
    over = {**REFINED, "task": "img2img", "image": ref, "strength": 0.5}
    late, early = ({**over, "refiner_after": share} for share in (0.6, 0.5))
    [plain], [last], [first] = (
        desk.paint(**{**over, "refiner": ""}),
        desk.paint(**late),
        desk.paint(**early),
    )
    # of two steps the second: at 0.6 one step is done, which is too few
    assert last == plain != first


def test_with_a_second_pass_it_takes_over_in_that_one(desk: Desk) -> None:
    hires = {"factor": 1.5, "strength": 0.6, "upscaler": "lanczos", "steps": 4}
    [picture] = desk.pictures("txt2img", **REFINED, hires=hires)
    facts = desk.frames("picture")[0]["facts"]
    assert facts["refiner"]["id"] == "last" and picture.size == (96, 96)
    [enlarged] = desk.pictures("txt2img", **REFINED, hires={**hires, "strength": 0.0})
    assert enlarged.tobytes() != picture.tobytes()


def test_an_embedding_is_read_for_the_refiner_too(
    desk: Desk, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the second of the two encoders alone, and of the vectors those for that one."""
    given: list[Any] = []

    def reading(pipeline: Any, **options: Any) -> Any:
        found = [
            encode(pipeline, **{**options, "words": words}) for words in (options["words"], {})
        ]
        given.extend(one.arguments["prompt_embeds"] for one in found)
        return found[0]

    monkeypatch.setattr(refining, "encode", reading)
    networks = desk.networks("xl")
    widths = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
    pair = {key: torch.randn(2, networks[part].config.hidden_size) for key, part in widths.items()}
    (home / "embeddings").mkdir()
    save_file(pair, home / "embeddings" / "pair.safetensors")
    desk.paint(**{**REFINED, "prompt": "a pair here"}, embeddings=["pair"])
    with_it, without = given
    assert with_it.shape == without.shape and not torch.allclose(with_it, without)


def test_another_autoencoder_decodes_what_both_painted(desk: Desk, home: Path) -> None:
    other: Any = diffusers.AutoencoderKL.from_pretrained(home / "xl" / "vae")
    for weight in other.decoder.parameters():
        weight.data *= 1.1
    (home / "vae").mkdir()
    save_file(vae(other), home / "vae" / "other.safetensors")
    [ours], [own] = desk.paint(**REFINED, vae="other"), desk.paint(**REFINED)
    assert ours != own
    difference = np.frombuffer(ours, np.uint8).astype(int)
    difference -= np.frombuffer(theirs(home, other), np.uint8)
    assert abs(difference).max() <= 1


def test_memory_that_runs_out_under_the_refiner_is_met_by_the_ladder(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = desk.paint(**REFINED)
    unet = desk.networks("xl")["unet"].__class__
    forward, struck = unet.forward, list[int]()

    def short(self: Any, sample: Any, *args: Any, **options: Any) -> Any:
        if len(sample) > 1 and self.config.cross_attention_dim == 64:  # the refiner's
            struck.append(len(sample))
            raise torch.OutOfMemoryError
        return forward(self, sample, *args, **options)

    monkeypatch.setattr(unet, "forward", short)
    [halved] = desk.paint(**REFINED)
    assert struck
    assert "one half after the other" in " ".join(desk.frames("picture")[0]["facts"]["plan"])
    difference = np.frombuffer(whole, np.uint8).astype(int) - np.frombuffer(halved, np.uint8)
    assert abs(difference).max() <= 1


@pytest.fixture(scope="module")
def studio(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Over the same checkpoints and a small one of another family; its engine is never started."""
    save_tiny_sd(home / "sd")
    data = tmp_path_factory.mktemp("data")
    encoder = Catalog((home,)).get("xl").encoder
    width = encoder.context if encoder else 0
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {f"{layer}.lora_down.weight": (4, width), f"{layer}.lora_up.weight": (16, 4)}
    sparse_of(data / "loras" / "ink.safetensors", shapes)
    app = compose(Settings(data_dir=data, checkpoint_dirs=(home,), hub_cache=None))
    yield app.studio
    app.close()


def test_only_refiners_are_offered_and_taken(studio: Studio) -> None:
    offered = studio.choices()["refiners"]
    assert [(row["id"], row["fits"]) for row in offered] == [
        ("last", ["xl"]),
        ("last-file", ["xl"]),
    ]
    for checkpoint, refiner in (("sd", "last"), ("xl", "xl"), ("xl", "sd"), ("xl", "nothing")):
        with pytest.raises(InvalidRequest) as caught:
            fields = {**REQUEST, "checkpoint": checkpoint, "refiner": refiner}
            studio.submit("local", "txt2img", fields)
        assert caught.value.hint
    with pytest.raises(InvalidRequest, match="only does image to image"):
        studio.submit("local", "txt2img", {**REQUEST, "checkpoint": "last-file"})


def test_one_note_says_what_the_refiner_paints_without(studio: Studio) -> None:
    fields: dict[str, Any] = {**REQUEST, "checkpoint": "xl", "loras": [{"name": "ink"}]}
    told: list[list[str]] = []
    for refiner in ("last", ""):
        job = studio.submit("local", "txt2img", {**fields, "refiner": refiner})
        studio.cancel("local", job.id)
        told.append([note for note in job.notes if "last steps" in note])
    [note] = told[0]
    assert "'last'" in note and "without the LoRAs" in note and not told[1]


def test_the_plan_counts_both(studio: Studio, home: Path) -> None:
    fields = {"prompt": "a fox", "checkpoint": "xl"}
    alone = studio.estimate("local", "txt2img", fields)
    both = studio.estimate("local", "txt2img", {**fields, "refiner": "last"})
    weights = Catalog((home,)).get("last").anatomy
    assert weights and both["peak_bytes"] == alone["peak_bytes"] + 4 * weights.parameters
    assert both["swap_seconds"] > alone["swap_seconds"]


def test_the_settings_in_a_picture_bring_it_back(desk: Desk, studio: Studio) -> None:
    desk.paint(**REFINED)
    facts = desk.frames("picture")[0]["facts"]
    picture = Picture(index=0, seed=7, width=64, height=64, pixels=b"", facts=facts)
    text = infotext.write("txt2img", {**REQUEST, **REFINED}, picture)
    assert f"Refiner: last [{facts['refiner']['short']}], Refiner switch at: 0.5" in text
    found = studio.read_settings(_png(text))
    assert (found.fields["refiner"], found.fields["refiner_after"]) == ("last", AFTER)
    assert not [note for note in found.notes if "efiner" in note]
    lost = studio.read_settings(_png(text.replace(f"last [{facts['refiner']['short']}]", "other")))
    assert not lost.fields.keys() & {"refiner", "refiner_after"}
    assert [note for note in lost.notes if "'other'" in note]
    never = studio.read_settings(_png(text.replace("switch at: 0.5", "switch at: 1")))
    assert not never.fields.keys() & {"refiner", "refiner_after"}


def _png(text: str) -> bytes:
    file, said = io.BytesIO(), PngImagePlugin.PngInfo()
    said.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=said)
    return file.getvalue()


def test_it_goes_through_a_form_and_back() -> None:
    values = sampling.from_settings({"prompt": "a", "refiner": "last", "refiner_after": 0.5})
    fields = sampling.to_fields(values)
    assert (fields["refiner"], fields["refiner_after"]) == ("last", 0.5)
    untouched = sampling.to_fields({"prompt": "a", "extras": '{"loras":[],"vae":"","refiner":""}'})
    assert not untouched.keys() & {"refiner", "refiner_after", "vae"}


@pytest.mark.parametrize("large", ["xl", "last"])
def test_either_may_be_too_small_for_short_numbers(
    desk: Desk, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [wanted] = desk.paint(**REFINED)
    manager = desk.runner.manager
    manager.unload_all()
    manager._known.clear()
    sizes = {name: desk.runner.catalog.get(name).anatomy.parameters for name in ("xl", "last")}
    assert sizes["xl"] != sizes["last"]
    short = replace(manager.device, dtype=torch.bfloat16, exact=torch.float32)
    manager.device = manager._store.device = short
    real = machine.Machine.painting
    monkeypatch.setattr(
        machine.Machine,
        "painting",
        lambda self, sized: self if sized.parameters == sizes[large] else real(self, sized),
    )
    [found] = desk.paint(**REFINED)
    with manager.use(desk.runner.catalog.get("last"), Role.IMAGE) as lease:
        assert lease.pipeline.unet.dtype != desk.networks("xl")["unet"].dtype
    off = np.frombuffer(found, np.uint8).astype(int) - np.frombuffer(wanted, np.uint8)
    assert abs(off).mean() < 2
