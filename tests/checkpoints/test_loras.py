"""LoRAs are known by their keys and found by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from studio.checkpoints.catalog import Checkpoint
from studio.checkpoints.loras import loras
from studio.core.errors import InvalidRequest
from studio.families._family import Defaults, Supports
from studio.families._steering import Encoder
from tests.checkpoints.files import sparse_of

CHECKPOINT = Checkpoint(
    id="dream",
    label="Dream",
    family="any",
    path=Path("dream.safetensors"),
    layout="file",
    size_bytes=1,
    native_px=512,
    multiple_px=8,
    defaults=Defaults(steps=1, guidance=1.0, sampler="euler"),
    supports=Supports(),
    encoder=Encoder(320, 768),
)
OTHER = replace(CHECKPOINT, id="large", label="Large", encoder=Encoder(320, 2048))
ATTENDS = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def write(folder: Path, name: str, context: int = 768, output: str = "") -> Path:
    shapes = {f"{ATTENDS}.lora_down.weight": (4, context), f"{ATTENDS}.lora_up.weight": (320, 4)}
    metadata = {"ss_output_name": output} if output else None
    return sparse_of(folder / f"{name}.safetensors", shapes, metadata)


def test_it_goes_by_id_file_name_and_the_name_its_trainer_gave(tmp_path: Path) -> None:
    write(tmp_path, "styles/Ink", output="Ink and wash")
    write(tmp_path, "Gold", output="shared")
    write(tmp_path, "silver", output="shared")
    shelf = loras((tmp_path,))
    for name in ("styles/Ink", "Ink", "ink", "Ink and wash", "styles\\Ink.safetensors"):
        assert shelf.find(name, CHECKPOINT).id == "styles/Ink"
    with pytest.raises(InvalidRequest) as caught:
        shelf.find("shared", CHECKPOINT)
    assert caught.value.message == "Two LoRAs are called 'shared': 'Gold' and 'silver'."


def test_of_several_of_a_name_the_one_that_fits_is_meant(tmp_path: Path) -> None:
    write(tmp_path, "small/detail")
    write(tmp_path, "xl/detail", context=2048)
    shelf = loras((tmp_path,))
    assert shelf.find("detail", CHECKPOINT).id == "small/detail"
    assert shelf.find("detail", OTHER).id == "xl/detail"
    write(tmp_path, "ink")
    write(tmp_path, "xl/ink", context=2048)
    assert shelf.find("ink", CHECKPOINT).id == "ink"
    assert shelf.find("ink", OTHER).id == "xl/ink"
    with pytest.raises(InvalidRequest, match="not made for 'Large'"):
        shelf.find("small/detail", OTHER)


def test_two_of_a_name_are_both_there_and_a_name_that_means_both_says_so(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "loras", tmp_path / "Lora"
    for folder, name in ((mine, "ink"), (theirs, "ink"), (mine, "a/wash"), (theirs, "b/wash")):
        write(folder, name)
    shelf = loras((mine, theirs, theirs / "b"))
    assert [one.id for one in shelf.all()] == ["a/wash", "ink", "b/wash", "Lora/ink"]
    assert shelf.get("Lora/ink").path == theirs / "ink.safetensors"
    assert shelf.find("ink", CHECKPOINT).path == mine / "ink.safetensors"
    assert shelf.find("ink", CHECKPOINT).twins == ("Lora/ink",)
    assert shelf.find("Lora/ink", CHECKPOINT).twins == ()
    assert shelf.find("b/wash", CHECKPOINT).path == theirs / "b" / "wash.safetensors"
    with pytest.raises(InvalidRequest) as caught:
        shelf.find("wash", CHECKPOINT)
    assert caught.value.message == "Two LoRAs are called 'wash': 'a/wash' and 'b/wash'."
    assert "'a/wash'" in caught.value.hint


def test_of_several_of_a_name_a_pictures_hash_says_which(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{folder}/ink") for folder in "ab"]
    shelf = loras((tmp_path,))
    known = {file: letter * 64 for file, letter in zip(files, "cd", strict=True)}
    assert shelf.meant("ink", "d" * 12, known) == "b/ink"
    assert shelf.meant("ink", "", known) == shelf.meant("ink", "e" * 12, known) == "ink"
    assert shelf.meant("other", "c" * 12, known) == "a/ink"
    first = write(tmp_path, "ink")
    assert shelf.meant("ink", "d" * 12, known) == "b/ink"
    assert shelf.meant("ink", "d" * 12, {**known, first: "d" * 64}) == "ink"


def test_a_missing_one_is_named_with_where_it_was_looked_for_and_what_is_near(
    tmp_path: Path,
) -> None:
    write(tmp_path, "pixel-art")
    write(tmp_path, "pixel-art-xl", context=2048)
    with pytest.raises(InvalidRequest) as caught:
        loras((tmp_path,)).find("pixelart", CHECKPOINT)
    assert "'pixelart'" in caught.value.message
    assert "folder 'loras'" in caught.value.message
    assert caught.value.hint == "Did you mean 'pixel-art'?"
    with pytest.raises(InvalidRequest) as caught:
        loras((tmp_path, tmp_path / "more")).find("../../etc", CHECKPOINT)
    assert "Put it there" in caught.value.hint


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    write(tmp_path, "cut").write_bytes(write(tmp_path, "whole").read_bytes()[:-2])
    (tmp_path / "old.pt").write_bytes(b"\x80\x04.")
    sparse_of(tmp_path / "tree.safetensors", {"trunk.weight": (4, 4)})
    shelf = loras((tmp_path,))
    for name, words in (("cut", "damaged"), ("old", "safetensors"), ("tree", "no LoRA")):
        with pytest.raises(InvalidRequest, match=words) as caught:
            shelf.find(name, CHECKPOINT)
        assert name in caught.value.message
    assert [lora.id for lora in shelf.all() if not lora.problem] == ["whole"]


@pytest.mark.parametrize(
    ("shapes", "metadata", "context"),
    [
        ({"unet.mid.attn2.to_v.lora_A.weight": (4, 1024), "unet.mid.attn2.to_v.lora_B.weight": (8, 4)}, {}, 1024),
        (
            {
                "lycoris_mid_attn2_to_k.hada_w1_a": (8, 4),
                "lycoris_mid_attn2_to_k.hada_w1_b": (4, 2048),
                "lycoris_mid_attn2_to_k.hada_w2_a": (8, 4),
                "lycoris_mid_attn2_to_k.hada_w2_b": (4, 2048),
            },
            {},
            2048,
        ),
        ({"lora_unet_mid_attn2_to_k.lokr_w1": (2, 8), "lora_unet_mid_attn2_to_k.lokr_w2_a": (4, 2), "lora_unet_mid_attn2_to_k.lokr_w2_b": (2, 96)}, {}, 768),
        (
            {
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768),
                "lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": (768, 4),
                "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 1280),
                "lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": (1280, 4),
            },
            {},
            2048,
        ),
        ({"lora_unet_mid_ff.lora_down.weight": (4, 8), "lora_unet_mid_ff.lora_up.weight": (8, 4)}, {"ss_base_model_version": "sd_v1", "ss_v2": "True"}, 1024),
    ],
)  # fmt: skip
def test_what_it_fits_is_read_from_its_keys(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], context: int
) -> None:
    sparse_of(tmp_path / "it.safetensors", shapes, metadata)
    [found] = loras((tmp_path,)).all()
    assert (found.problem, found.context) == ("", context)


Q = "text_model_encoder_layers_0_self_attn_q_proj"
DEEP = "oft_unet_input_blocks_7_1_transformer_blocks_4_attn1_to_q"


@pytest.mark.parametrize(
    ("shapes", "metadata", "context"),
    [
        ({f"oft_unet_{ATTENDS[10:]}.oft_blocks": (4, 80, 80)}, {"ss_base_model_version": "sd_v1"}, 768),
        ({f"lora_te_{Q}.oft_blocks": (96, 8, 8), "lora_unet_mid_ff.oft_blocks": (4, 8, 8)}, {}, 768),
        ({f"{DEEP}.oft_blocks": (4, 320, 320)}, {}, 2048),
        ({f"lora_unet_{ATTENDS[10:]}.oft_R.weight": (24, 496)}, {}, 768),
        ({f"lora_unet_{ATTENDS[10:]}.oft_r": (24, 32, 32), f"lora_unet_{ATTENDS[10:]}.oft_s": (320, 1)}, {}, 768),
        ({f"{ATTENDS}.{name}.weight": size for name, size in {"a1": (768, 4), "a2": (4, 768), "b1": (320, 4), "b2": (4, 768)}.items()}, {}, 768),
        ({f"{ATTENDS}.weight": (320,), f"{ATTENDS}.on_input": ()}, {"ss_base_model_version": "sd_v1"}, 768),
    ],
)  # fmt: skip
def test_one_that_turns_layers_is_known_by_what_it_tells(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str], context: int
) -> None:
    """An OFT of rows says nothing of how wide the inputs are."""
    sparse_of(tmp_path / "it.safetensors", shapes, metadata)
    [found] = loras((tmp_path,)).all()
    assert (found.problem, found.context) == ("", context)
    kinds = {f"{ATTENDS}.weight": "IA3", f"{ATTENDS}.a1.weight": "GLoRA"}
    assert found.kinds == (next((kinds[key] for key in shapes if key in kinds), "OFT"),)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ({"oft_blocks": (4, 80, 80)}, "which checkpoints it was made for"),
        ({"oft_R.weight": (24, 496), "dora_scale": (320, 1)}, "an order not told"),
        ({"oft_diag": (4, 80, 80), "rescale": (4, 80, 1)}, "several meanings"),
        ({"boft_R": (2, 4, 80, 80), "boft_s": (320, 1)}, "no LoRA of a kind"),
    ],
)
def test_one_that_leaves_out_what_it_takes_says_so(
    tmp_path: Path, pieces: dict[str, tuple[int, ...]], words: str
) -> None:
    sparse_of(tmp_path / "it.safetensors", {f"{ATTENDS}.{k}": v for k, v in pieces.items()})
    with pytest.raises(InvalidRequest, match=words) as caught:
        loras((tmp_path,)).find("it", CHECKPOINT)
    assert "again" not in caught.value.hint
