"""Pictures that lend their look, beside real diffusers pipelines, and that nothing stays of them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from studio import samplers
from studio.checkpoints.catalog import Catalog, Checkpoint
from studio.checkpoints.controls import Encoder
from studio.checkpoints.imageprompts import ImagePrompts
from studio.core.errors import InvalidRequest
from studio.engine.frugal import Split
from studio.engine.schedulers import build
from tests.engine.desk import REQUEST, Desk
from tests.engine.tiny import save_tiny_image_prompt, save_tiny_looker


@pytest.fixture(scope="module")
def prompts(shelf: Path) -> Path:
    """IP-Adapters for the checkpoints `sd` and `xl`, and what looks at pictures for them."""
    folder = shelf / "ipadapter"
    save_tiny_looker(folder / "looker")
    for kind in ("plain", "plus"):
        for name in ("sd", "xl"):
            save_tiny_image_prompt(folder / f"{name}-{kind}.safetensors", shelf / name, kind=kind)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("looks")


@pytest.fixture(scope="module")
def desk(make_desk: Callable[..., Desk], shelf: Path, prompts: Path) -> Desk:
    """One for all: nothing that was painted before changes a picture."""
    return make_desk(shelf)


def look() -> Image.Image:
    drawn = Image.new("RGB", (80, 64), "crimson")
    ImageDraw.Draw(drawn).ellipse((10, 14, 60, 50), fill="gold", outline="navy", width=4)
    return drawn


def left() -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 30, 64))
    return mask


@pytest.fixture
def ref(desk: Desk, folder: Path) -> str:
    return desk.put(look(), folder)


def adapter(ref: str, name: str, **changes: Any) -> dict[str, Any]:
    return {"image": ref, "method": "adapter", "adapter": name, "takes": "all", **changes}


def theirs(shelf: Path, checkpoint: str, name: str, scale: Any, **call: Any) -> bytes:
    """The same as diffusers paints it."""
    kind: Any = (
        diffusers.StableDiffusionXLPipeline
        if checkpoint == "xl"
        else diffusers.StableDiffusionPipeline
    )
    looker = transformers.CLIPVisionModelWithProjection.from_pretrained(
        shelf / "ipadapter" / "looker"
    )
    off: Any = {} if checkpoint == "xl" else {"safety_checker": None}
    pipeline = kind.from_pretrained(shelf / checkpoint, image_encoder=looker, **off)
    state = load_file(shelf / "ipadapter" / f"{name}.safetensors")
    parts = {
        part: {
            key.removeprefix(f"{part}."): tensor
            for key, tensor in state.items()
            if key.startswith(part)
        }
        for part in ("image_proj", "ip_adapter")
    }
    pipeline.load_ip_adapter(parts, None, None)
    pipeline.set_ip_adapter_scale(scale)
    pipeline.scheduler = build(samplers.find("euler"), pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        REQUEST["prompt"],
        width=64,
        height=64,
        num_inference_steps=REQUEST["steps"],
        guidance_scale=call.pop("guidance", REQUEST["guidance"]),
        ip_adapter_image=look(),
        generator=torch.Generator("cpu").manual_seed(REQUEST["seed"]),
        **call,
    )
    return made.images[0].tobytes()


@pytest.mark.parametrize("kind", ["plain", "plus"])
@pytest.mark.parametrize("checkpoint", ["sd", pytest.param("xl", marks=pytest.mark.slow)])
def test_an_image_prompt_is_what_diffusers_makes_of_it(
    desk: Desk, shelf: Path, ref: str, checkpoint: str, kind: str
) -> None:
    name = f"{checkpoint}-{kind}"
    plain = desk.paint(checkpoint=checkpoint)
    [ours] = desk.paint(checkpoint=checkpoint, references=[adapter(ref, name, weight=0.7)])
    assert [ours] != plain
    assert ours == theirs(shelf, checkpoint, name, 0.7)
    assert desk.paint(checkpoint=checkpoint) == plain


def test_style_alone_reaches_the_layers_that_instantstyle_names(
    desk: Desk, shelf: Path, ref: str
) -> None:
    [ours] = desk.paint(
        checkpoint="xl", guidance=1.0, references=[adapter(ref, "xl-plus", takes="style")]
    )
    scale = {"up": {"block_0": [0.0, 1.0]}}
    assert ours == theirs(shelf, "xl", "xl-plus", scale, guidance=1.0)


def test_a_mask_is_what_diffusers_makes_of_it(
    desk: Desk, shelf: Path, folder: Path, ref: str
) -> None:
    mask = desk.put(left(), folder)
    [ours] = desk.paint(references=[adapter(ref, "sd-plain", mask=mask)])
    drawn = diffusers.image_processor.IPAdapterMaskProcessor(do_binarize=False).preprocess(left())
    given = {"ip_adapter_masks": [drawn[None, 0]]}
    assert ours == theirs(shelf, "sd", "sd-plain", 1.0, cross_attention_kwargs=given)


METHODS = pytest.mark.parametrize("method", ["shared", "adapter"])


def reference(ref: str, method: str, **changes: Any) -> dict[str, Any]:
    return adapter(ref, "sd-plain", **{"method": method, **changes})


@METHODS
def test_it_acts_between_start_and_end_and_by_its_weight(desk: Desk, ref: str, method: str) -> None:
    plain = desk.paint(steps=6)
    for nothing in ({"weight": 0.0}, {"start": 0.95}, {"end": 0.1}):
        assert desk.paint(steps=6, references=[reference(ref, method, **nothing)]) == plain
    made = [
        desk.paint(steps=6, references=[reference(ref, method, **some)])
        for some in ({}, {"weight": 0.5}, {"end": 0.5}, {"start": 0.5})
    ]
    assert len({pixels for [pixels] in [plain, *made]}) == 5
    assert desk.paint(steps=6, references=[reference(ref, method)]) == made[0]


@METHODS
@pytest.mark.parametrize("checkpoint", ["sd", "v", "xl", "two"])
def test_every_family_hears_it(desk: Desk, ref: str, checkpoint: str, method: str) -> None:
    if method == "adapter" and checkpoint == "two":
        return
    name = "xl-plus" if checkpoint == "xl" else "sd-plus"
    plain = desk.paint(checkpoint=checkpoint)
    given = adapter(ref, name, method=method)
    assert desk.paint(checkpoint=checkpoint, references=[given]) != plain
    assert desk.paint(checkpoint=checkpoint) == plain


def test_looks_are_mixed(desk: Desk, folder: Path, ref: str) -> None:
    other = desk.put(Image.linear_gradient("L").convert("RGB"), folder)
    for method in ("shared", "adapter"):
        both = [reference(ref, method), reference(other, method)]
        made = {desk.paint(references=some)[0] for some in (both, both[:1], both[1:], [])}
        assert len(made) == 4
    both = [reference(ref, "shared"), reference(other, "adapter")]
    assert desk.paint(references=both) not in (
        desk.paint(references=both[:1]),
        desk.paint(references=both[1:]),
    )


@METHODS
@pytest.mark.parametrize("checkpoint", ["sd", "sd9"])
def test_a_masked_part_is_painted_in_that_look(
    desk: Desk, folder: Path, ref: str, checkpoint: str, method: str
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    ask: dict[str, Any] = {
        "image": desk.put(Image.effect_noise((64, 64), 90).convert("RGB"), folder),
        "mask": desk.put(mask, folder),
        "checkpoint": checkpoint,
    }
    plain = desk.paint(task="inpaint", **ask)
    assert desk.paint(task="inpaint", **ask, references=[reference(ref, method)]) != plain


@METHODS
def test_everything_is_as_before_also_after_a_failure(
    desk: Desk, ref: str, shelf: Path, method: str
) -> None:
    asked = [reference(ref, method)]
    desk.paint(references=asked)
    unet: Any = desk.networks()["unet"]
    before = desk.held()
    processors = dict(unet.attn_processors)
    assert {type(one) for one in processors.values()} == {
        diffusers.models.attention_processor.AttnProcessor2_0
    }

    def broken(*_: Any) -> None:
        raise RuntimeError("in mid-step")

    hook = unet.up_blocks[-1].register_forward_hook(broken)
    assert desk.run(references=asked)["op"] == "failed"
    hook.remove()
    assert desk.held() == before
    assert unet.attn_processors == processors
    assert unet.encoder_hid_proj is None
    assert desk.leases == 0


@METHODS
def test_rows_that_are_painted_one_by_one_hear_it_too(
    desk: Desk, ref: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are where memory is short."""
    [whole] = desk.paint(references=[reference(ref, method)])

    def splitting(pipeline: Any, nets: Any, plan: Any) -> Any:
        pipeline.unet = Split(pipeline.unet)
        return nets

    monkeypatch.setattr("studio.engine.frugal.applied", splitting)
    [split] = desk.paint(references=[reference(ref, method)])
    apart = np.frombuffer(whole, np.uint8).astype(int) - np.frombuffer(split, np.uint8)
    assert np.abs(apart).max() <= 2


class TestOnDisk:
    @pytest.fixture
    def checkpoints(self, shelf: Path) -> dict[str, Checkpoint]:
        return {one.id: one for one in Catalog((shelf,)).all() if not one.problem}

    def test_what_it_is_and_fits_is_read_from_its_keys(
        self, prompts: Path, checkpoints: dict[str, Checkpoint]
    ) -> None:
        listed = ImagePrompts((prompts,))
        found = {one.id: one for one in listed.all()}
        assert set(found) == {"sd-plain", "sd-plus", "xl-plain", "xl-plus"}
        assert found["sd-plain"].projected and not found["sd-plus"].projected
        assert found["sd-plus"].fits(checkpoints["sd"])
        assert not found["sd-plus"].fits(checkpoints["xl"])
        assert listed.get(None, checkpoints["xl"]).id == "xl-plain"
        assert listed.looker(found["xl-plus"]).id == "looker/model"
        with pytest.raises(InvalidRequest, match="not made for"):
            listed.get("sd-plus", checkpoints["xl"])
        with pytest.raises(InvalidRequest, match="no IP-Adapter that fits"):
            listed.get(None, checkpoints["two"])

    def test_two_of_one_name_are_told_apart(
        self, prompts: Path, checkpoints: dict[str, Checkpoint], tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(prompts / "xl-plain.safetensors", other / "sd-plain.safetensors")
        listed = ImagePrompts((prompts, other, prompts))
        names = [(one.id, one.label) for one in listed.all() if one.path.parent == other]
        assert names == [("other/sd-plain", "other/sd-plain")]
        assert len(listed.all()) == 5
        assert listed.get("sd-plain", checkpoints["sd"]).path.parent == prompts
        assert listed.get("other/sd-plain", checkpoints["xl"]).path.parent == other

    def test_what_is_missing_is_named(self, prompts: Path, tmp_path: Path) -> None:
        (tmp_path / "lone.safetensors").write_bytes((prompts / "sd-plus.safetensors").read_bytes())
        listed = ImagePrompts((tmp_path,))
        with pytest.raises(InvalidRequest) as told:
            listed.looker(listed.all()[0])
        assert "image encoder of 'lone'" in told.value.message
        assert "hf download h94/IP-Adapter models/image_encoder" in told.value.hint

    def test_one_that_wants_faces_is_refused_in_words(
        self, checkpoints: dict[str, Checkpoint], prompts: Path, tmp_path: Path
    ) -> None:
        """FaceID, by keys or, where it is pickled, by name: listed, never used."""
        state = load_file(prompts / "sd-plain.safetensors")
        lora = {"ip_adapter.1.to_q_lora.up.weight": torch.zeros(1)}
        save_file(state | lora, tmp_path / "face.safetensors")
        row = {
            "image_proj.proj.0.weight": torch.zeros(8, 512),
            "image_proj.norm.weight": lora.popitem()[1],
        }
        save_file(row, tmp_path / "portrait.safetensors")
        (tmp_path / "ip-adapter-faceid_sd15.bin").write_bytes(b"pickled")
        (tmp_path / "ip-adapter_sd15.bin").write_bytes(b"pickled")
        listed = ImagePrompts((tmp_path,))
        faces = ("face", "portrait", "ip-adapter-faceid_sd15")
        assert {one.id for one in listed.all()} == {*faces, "ip-adapter_sd15"}
        assert not any(one.fits(checkpoints["sd"]) for one in listed.all())
        for name in faces:
            with pytest.raises(InvalidRequest, match="FaceID"):
                listed.get(name, checkpoints["sd"])
        with pytest.raises(InvalidRequest, match="pickled"):
            listed.get("ip-adapter_sd15", checkpoints["sd"])
        with pytest.raises(InvalidRequest, match=r"no IP-Adapter that fits .* FaceID"):
            listed.get(None, checkpoints["sd"])
        usual = replace(checkpoints["sd"], encoder=Encoder(channels=320, context=768))
        with pytest.raises(InvalidRequest) as told:
            listed.get(None, usual)
        assert "ip-adapter_sd15.safetensors --local-dir ipadapter" in told.value.hint
        assert "45 MB" in told.value.hint and "shared attention" in told.value.hint
        flux = replace(checkpoints["sd"], words=32, encoder=None)
        with pytest.raises(InvalidRequest, match="'face' is not made for"):
            listed.get("face", flux)
        with pytest.raises(InvalidRequest, match="no Redux that fits") as told:
            listed.get(None, flux)
        assert "FaceID" not in str(told.value)

    def test_something_else_is_passed_over(self, tmp_path: Path) -> None:
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
        (tmp_path / "broken.safetensors").write_bytes(b"nothing")
        (tmp_path / "control_v11p_sd15_canny.pth").write_bytes(b"pickled")
        assert ImagePrompts((tmp_path,)).all() == ()

    def test_weights_that_do_not_fit_are_told(
        self, make_desk: Callable[..., Desk], shelf: Path, prompts: Path, folder: Path
    ) -> None:
        state = load_file(prompts / "sd-plain.safetensors")
        state["ip_adapter.3.to_k_ip.weight"] = torch.zeros(3, 32)
        save_file(state, prompts / "wrong.safetensors")
        desk = make_desk(shelf)
        ref = desk.put(look(), folder)
        ending = desk.run(references=[adapter(ref, "wrong")])
        (prompts / "wrong.safetensors").unlink()
        assert (ending["op"], "cannot be loaded" in ending["message"]) == ("failed", True)
        assert desk.run()["op"] == "done"
