"""FLUX.1 and Stable Diffusion 3 as files: everything in one, or the denoiser alone and the rest
elsewhere. The same pixels as the folder, without any network."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file

from studio.checkpoints.beside import beside_in
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.convert import convert
from studio.checkpoints.originals import ORIGINALS, SINGLE_FILES
from studio.core.layouts import Kind, folders_below
from studio.costs.plan import Kept
from studio.engine.layouts import trace
from studio.engine.loading import _tokenizer, renamed
from studio.paths import CONFIGS
from tests.checkpoints.files import name_in_database
from tests.engine.desk import Desk
from tests.engine.original import _under, clip_text, transformer, vae
from tests.engine.tiny_families import TINY

NAMES = {"flux": "flux", "flux_schnell": "schnell", "sd3": "sd3"}
ENCODERS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}


class Parts:
    """A checkpoint's networks, by original names."""

    def __init__(self, folder: Path) -> None:
        loaded: Any = diffusers.DiffusionPipeline.from_pretrained(folder)
        parts = loaded.components
        encoders = dict(ENCODERS)
        if "flux" in type(loaded).__name__.lower():
            encoders["text_encoder_2"] = encoders.pop("text_encoder_3")
        self.denoiser = transformer(parts["transformer"])
        self.vae = vae(parts["vae"])
        self.texts = {
            encoders[part]: parts[part].state_dict()
            if encoders[part] == "t5xxl"
            else _clip(parts[part])
            for part in encoders
            if part in parts
        }

    def whole(self, vae_prefix: str, *left_out: str) -> dict[str, torch.Tensor]:
        """As ComfyUI and Stability AI put everything into one file."""
        return {
            **_under("model.diffusion_model", self.denoiser),
            **_under(vae_prefix, self.vae),
            **{
                f"text_encoders.{name}.transformer.{key}": tensor
                for name, state in self.texts.items()
                for key, tensor in state.items()
                if name not in left_out
            },
        }


def _clip(network: Any) -> dict[str, torch.Tensor]:
    state = clip_text(network)
    projection = state.pop("text_model.text_projection.weight", None)
    return state if projection is None else {**state, "text_projection.weight": projection}


def save(tensors: Mapping[str, torch.Tensor], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    # T5 has one table of words under two names
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, file)
    return file


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`flux`, `schnell` and `sd3` in diffusers' layout."""
    folder = tmp_path_factory.mktemp("folders")
    for family, name in NAMES.items():
        TINY[family](folder / name)
    return folder


@pytest.fixture(scope="module")
def parts(folders: Path) -> dict[str, Parts]:
    return {name: Parts(folders / name) for name in NAMES.values()}


@pytest.fixture(scope="module")
def configs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What assets/configs is for checkpoints of full size, for these small ones."""
    place = tmp_path_factory.mktemp("configs")
    for family in ("flux", "sd3"):
        shutil.copytree(
            folders / family, place / family, ignore=shutil.ignore_patterns("*.safetensors")
        )
        for config in (place / family).glob("tokenizer*/tokenizer_config.json"):
            settings = json.loads(config.read_text())
            settings["vocabulary"] = f"{family}/{config.parent.name}"
            config.write_text(json.dumps(settings))
    return place


@pytest.fixture(scope="module")
def files(parts: dict[str, Parts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything in one file each."""
    place = tmp_path_factory.mktemp("files")
    save(parts["flux"].whole("vae"), place / "flux.safetensors")
    save(parts["schnell"].whole("vae"), place / "schnell.safetensors")
    save(parts["sd3"].whole("first_stage_model"), place / "sd3.safetensors")
    return place


def paint(desk: Desk, checkpoint: str, **changes: Any) -> bytes:
    guidance = 4.0 if checkpoint.startswith("sd3") else 3.5
    [pixels] = desk.paint(
        checkpoint=checkpoint, steps=2, guidance=guidance, sampler="flow_euler", **changes
    )
    return pixels


def keep(monkeypatch: pytest.MonkeyPatch, kept: Kept) -> None:
    """Has all jobs begin with a plan that keeps weights so."""
    monkeypatch.setattr(
        "studio.engine.plan.named", lambda _, plans: [one.kept for one in plans].index(kept)
    )


@pytest.fixture(scope="module")
def painted(folders: Path, make_desk: Callable[..., Desk]) -> dict[str, bytes]:
    desk = make_desk(folders)
    return {name: paint(desk, name) for name in NAMES.values()}


@pytest.mark.parametrize("name", ["flux", "sd3"])
def test_a_file_with_everything_is_the_folder(
    name: str, files: Path, configs: Path, painted: dict[str, bytes], make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk(files, configs)
    assert paint(desk, name) == painted[name]
    assert desk.runner.catalog.get(name).lent == ()


def test_schnell_is_sampled_without_a_shift(
    files: Path, configs: Path, make_desk: Callable[..., Desk]
) -> None:
    desk = make_desk(files, configs)
    assert desk.runner.catalog.get("schnell").family == "flux_schnell"
    with desk.runner.manager.use(desk.runner.catalog.get("schnell"), "text") as lease:  # type: ignore[arg-type]
        assert lease.weights.scheduler["shift"] == 1.0
        assert not lease.weights.scheduler["use_dynamic_shifting"]
        assert not lease.pipeline.transformer.config.guidance_embeds


def test_a_denoiser_alone_borrows_the_rest_from_files(
    parts: dict[str, Parts],
    configs: Path,
    painted: dict[str, bytes],
    tmp_path: Path,
    make_desk: Callable[..., Desk],
) -> None:
    save(parts["flux"].denoiser, tmp_path / "flux.safetensors")
    save(_under("model.diffusion_model", parts["sd3"].denoiser), tmp_path / "sd3.safetensors")
    for name, state in {**parts["sd3"].texts, "clip_flux": parts["flux"].texts["clip_l"]}.items():
        save(state, tmp_path / "text_encoders" / f"{name}.safetensors")
    save(parts["flux"].texts["t5xxl"], tmp_path / "text_encoders" / "a-t5.safetensors")
    save(parts["sd3"].vae, tmp_path / "vae" / "sd3_vae.safetensors")
    save(parts["flux"].vae, tmp_path / "vae" / "ae.safetensors")
    desk = make_desk(tmp_path, configs)
    assert paint(desk, "flux") == painted["flux"]
    lent = {one.part: one.offer.name for one in desk.runner.catalog.get("sd3").lent}
    # both families have the same T5; these tiny ones are drawn apart
    assert lent == {
        "vae": "sd3_vae",
        "text_encoder": "clip_l",
        "text_encoder_2": "clip_g",
        "text_encoder_3": "a-t5",
    }


KEYS = [f"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f{digit}" for digit in range(4)]


def keep_by_key(root: Path, flux: Parts) -> Path:
    """What InvokeAI makes of FLUX.1: each part in a folder of its own, T5 in two files."""
    models = root / "models"
    save(flux.denoiser, models / KEYS[0] / "flux1.safetensors")
    save(flux.vae, models / KEYS[1] / "ae.safetensors")
    save(flux.texts["clip_l"], models / KEYS[2] / "model.safetensors")
    (models / KEYS[2] / "config.json").write_text("{}")
    t5, place = flux.texts["t5xxl"], models / KEYS[3] / "text_encoder_2"
    half = len(t5) // 2
    for number, names in enumerate((list(t5)[:half], list(t5)[half:])):
        part = {name: t5[name] for name in names}
        save(part, place / f"model-{number + 1:05}-of-00002.safetensors")
    (place / "config.json").write_text("{}")
    return models


def test_it_borrows_from_what_invokeai_keeps_by_key(
    parts: dict[str, Parts],
    configs: Path,
    painted: dict[str, bytes],
    tmp_path: Path,
    make_desk: Callable[..., Desk],
) -> None:
    models = keep_by_key(tmp_path, parts["flux"])
    name_in_database(tmp_path, {KEYS[2]: "clip-vit-large"})
    desk = make_desk(models, configs)
    below = partial(folders_below, tmp_path)
    catalog = Catalog(below(Kind.CHECKPOINTS), beside=beside_in(below))
    desk = replace(desk, runner=replace(desk.runner, catalog=catalog))
    assert paint(desk, "flux1") == painted["flux"]
    found = desk.runner.catalog.get("flux1")
    assert {one.part: one.offer.name for one in found.lent} == {
        "vae": "ae",
        "text_encoder": "clip-vit-large",
        "text_encoder_2": KEYS[3],
    }
    (tmp_path / "out").mkdir()
    convert(found, "folder", tmp_path / "out" / "made", configs=configs)
    assert paint(make_desk(tmp_path / "out", configs), "made") == painted["flux"]
    second = models / KEYS[3] / "text_encoder_2" / "model-00002-of-00002.safetensors"
    second.rename(second.with_name("elsewhere"))
    assert "t5xxl" in desk.run(checkpoint="flux1")["message"]


def test_what_bitsandbytes_packed_is_not_borrowed(parts: dict[str, Parts], tmp_path: Path) -> None:
    """InvokeAI offers T5 so as well, in whole numbers with a scale a row beside each."""
    models = keep_by_key(tmp_path, parts["flux"])
    for file in (models / KEYS[3] / "text_encoder_2").glob("*.safetensors"):
        state = load_file(file)
        rows = {
            key.replace(".weight", ".SCB"): torch.ones(len(tensor)) for key, tensor in state.items()
        }
        save({**state, **rows}, file)
    below = partial(folders_below, tmp_path)
    [found] = Catalog(below(Kind.CHECKPOINTS), beside=beside_in(below)).all()
    assert [one.label for one in found.lacks] == ["t5xxl_fp16.safetensors"]


def test_what_asks_for_a_login_is_lacked_last(parts: dict[str, Parts], tmp_path: Path) -> None:
    save(parts["sd3"].denoiser, tmp_path / "sd3.safetensors")
    [found] = Catalog((tmp_path,)).all()
    assert [one.gated for one in found.lacks] == [False, False, True]


def test_it_borrows_from_a_folder_and_notices_when_that_changes(
    parts: dict[str, Parts],
    folders: Path,
    configs: Path,
    painted: dict[str, bytes],
    tmp_path: Path,
    make_desk: Callable[..., Desk],
) -> None:
    save(parts["flux"].denoiser, tmp_path / "alone.safetensors")
    desk = make_desk(tmp_path, configs)
    ending = desk.run(checkpoint="alone")
    assert ending["message"] == (
        "'alone' is FLUX.1 without ae.safetensors, clip_l.safetensors and t5xxl_fp16.safetensors."
    )
    assert "text_encoders" in ending["hint"] and "folder" in ending["hint"]
    shutil.copytree(folders / "flux", tmp_path / "installed")
    assert paint(desk, "alone") == painted["flux"]
    shutil.rmtree(tmp_path / "installed")
    assert desk.run(checkpoint="alone")["op"] == "failed"


def test_sd3_paints_without_t5(
    parts: dict[str, Parts],
    folders: Path,
    configs: Path,
    tmp_path: Path,
    make_desk: Callable[..., Desk],
) -> None:
    save(parts["sd3"].whole("first_stage_model", "t5xxl"), tmp_path / "file.safetensors")
    shutil.copytree(folders / "sd3", tmp_path / "folder")
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    (tmp_path / "folder" / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(tmp_path / "folder" / "text_encoder_3")
    desk = make_desk(tmp_path, configs)
    assert paint(desk, "file") == paint(desk, "folder")


def test_numbers_of_eight_bits_are_read(
    parts: dict[str, Parts],
    configs: Path,
    tmp_path: Path,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = parts["flux"].whole("vae")
    small = {
        key: t.to(torch.float8_e4m3fn) if "diffusion_model" in key or "t5xxl" in key else t
        for key, t in whole.items()
    }
    save(small, tmp_path / "fp8.safetensors")
    save({k: t.float() for k, t in small.items()}, tmp_path / "full.safetensors")
    desk = make_desk(tmp_path, configs)
    full = paint(desk, "full")
    assert paint(desk, "fp8") == full
    keep(monkeypatch, "packed")
    assert paint(desk, "fp8") == full


def test_a_scale_beside_eight_bits_is_read_too(
    parts: dict[str, Parts],
    configs: Path,
    tmp_path: Path,
    make_desk: Callable[..., Desk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As ComfyUI calls them, in both ways; what is packed in blocks is named."""
    scaled: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(2)}
    full: dict[str, torch.Tensor] = {}
    for number, (key, tensor) in enumerate(parts["flux"].whole("vae").items()):
        full[key] = tensor
        if tensor.ndim == 2 and key.endswith(".weight") and "clip_l" not in key:
            scale = tensor.abs().max().float().reshape(()) / 448
            small = (tensor.float() / scale).to(torch.float8_e4m3fn)
            full[key] = small.float() * scale
            name = ("scale_weight", "weight_scale")[number % 2]
            scaled[f"{key.removesuffix('.weight')}.{name}"] = scale
            tensor = small
        scaled[key] = tensor
    save(scaled, tmp_path / "scaled.safetensors")
    save(full, tmp_path / "full.safetensors")
    blocks = {"model.diffusion_model.img_in.weight_scale": torch.ones(4, 4)}
    save({**parts["flux"].whole("vae"), **blocks}, tmp_path / "blocks.safetensors")
    desk = make_desk(tmp_path, configs)
    plain = paint(desk, "full")
    assert paint(desk, "scaled") == plain
    assert "packed in a way" in desk.run(checkpoint="blocks")["message"]
    keep(monkeypatch, "packed")
    assert paint(desk, "scaled") == plain


def test_a_projection_that_is_left_out_changes_nothing(
    parts: dict[str, Parts], configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    whole = parts["sd3"].whole("first_stage_model")
    name = "text_encoders.clip_l.transformer.text_projection.weight"
    save({**whole, name: torch.eye(24)}, tmp_path / "same.safetensors")
    del whole[name]
    save(whole, tmp_path / "short.safetensors")
    desk = make_desk(tmp_path, configs)
    assert paint(desk, "short") == paint(desk, "same")


@pytest.mark.parametrize(
    ("family", "kind", "changes"),
    [
        (
            "flux",
            "FluxTransformer2DModel",
            {"num_layers": 2, "num_single_layers": 2, "out_channels": 64},
        ),
        (
            "sd3",
            "SD3Transformer2DModel",
            {"num_layers": 3, "num_attention_heads": 3, "attention_head_dim": 512},
        ),
        (
            "sd3",
            "SD3Transformer2DModel",
            {"num_layers": 3, "qk_norm": "rms_norm", "dual_attention_layers": [0, 1]},
        ),
    ],
)
def test_names_are_those_of_diffusers_converters(
    family: str, kind: str, changes: dict[str, Any]
) -> None:
    """At full width, tensor by tensor: which rows of which tensor of the file each one is."""
    config = json.loads((CONFIGS / family / "transformer" / "config.json").read_text())
    with torch.device("meta"):
        network = getattr(diffusers, kind).from_config({**config, **changes})
    shapes = {k: (tuple(t.shape), torch.float32) for k, t in transformer(network).items()}
    convert = getattr(
        single_file_utils,
        "convert_flux_transformer_checkpoint_to_diffusers"
        if family == "flux"
        else "convert_sd3_transformer_checkpoint_to_diffusers",
    )
    theirs = trace(convert, shapes)
    ours = trace(partial(renamed, ORIGINALS[kind], network), shapes)
    assert dict(ours) == dict(theirs)
    told = SINGLE_FILES[kind]({key: shape for key, (shape, _) in shapes.items()})
    built = {name: network.config[name] for name in told}
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in built.items()} == told


def test_shipped_configs_are_of_the_published_size() -> None:
    """Parameters as their makers count them: FLUX.1 11.9 billion, SD3 medium 2.03, T5's half 4.76."""
    import transformers

    counted: dict[str, float] = {}
    with torch.device("meta"):
        for family in ("flux", "sd3"):
            index = json.loads((CONFIGS / family / "model_index.json").read_text())
            for part, entry in index.items():
                file = CONFIGS / family / part / "config.json"
                if not isinstance(entry, list) or not file.is_file():
                    continue
                cls = getattr(transformers if entry[0] == "transformers" else diffusers, entry[1])
                config = json.loads(file.read_text())
                made = (
                    cls(cls.config_class(**config))
                    if entry[0] == "transformers"
                    else cls.from_config(config)
                )
                size = sum(p.numel() for p in made.parameters())
                counted[f"{family}/{part}"] = round(size / 1e9, 3)
    assert counted == {
        "flux/text_encoder": 0.123,
        "flux/text_encoder_2": 4.762,
        "flux/transformer": 11.901,
        "flux/vae": 0.084,
        "sd3/text_encoder": 0.124,
        "sd3/text_encoder_2": 0.695,
        "sd3/text_encoder_3": 4.762,
        "sd3/transformer": 2.028,
        "sd3/vae": 0.084,
    }


def test_the_shipped_tokenizer_is_t5s() -> None:
    """Ids as published for T5; it reads wide letters as plain ones and knows no lines."""
    made = _tokenizer("T5TokenizerFast", CONFIGS / "flux", "tokenizer_2")
    ids = made("translate English to German: The house is wonderful.").input_ids
    assert ids == [13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5, 1]
    assert made("Ａｂｃ").input_ids == [891, 75, 1]
    assert (made.model_max_length, made.pad_token_id, made.eos_token_id) == (512, 0, 1)


def test_kontext_is_said_beside_its_file(
    files: Path, configs: Path, tmp_path: Path, make_desk: Callable[..., Desk]
) -> None:
    shutil.copy(files / "flux.safetensors", tmp_path / "it.safetensors")
    (tmp_path / "it.pochade.json").write_text('{"family": "flux_kontext"}')
    assert make_desk(tmp_path, configs).runner.catalog.get("it").family == "flux_kontext"
    (tmp_path / "it.pochade.json").write_text('{"family": "sd15"}')
    assert make_desk(tmp_path, configs).runner.catalog.get("it").family == "flux"
