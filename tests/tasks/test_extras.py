"""LoRAs on the way from a request to a job and from a picture back to a prompt."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from studio.app import App, compose
from studio.core.errors import InvalidRequest
from studio.core.records import Picture
from studio.prompts import infotext
from studio.settings import Settings
from tests.checkpoints.files import sparse_of

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture(scope="module")
def app(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A studio with the LoRAs `ink`, `styles/wash` and `gold`, the embeddings `blob` and `large`,
    the VAEs `kl` and `flux`, of which the last ones are for other families; its engine is never
    started."""
    data = tmp_path_factory.mktemp("data")
    for name, context in (("ink", 32), ("styles/wash", 32), ("gold", 96)):
        sparse_of(
            data / "loras" / f"{name}.safetensors",
            {f"{LAYER}.lora_down.weight": (4, context), f"{LAYER}.lora_up.weight": (16, 4)},
            {"sshs_model_hash": "ab" * 32} if name == "ink" else None,
        )
    sparse_of(data / "embeddings" / "blob.safetensors", {"emb_params": (2, 32)})
    sparse_of(data / "embeddings" / "large.safetensors", {"clip_l": (2, 32), "clip_g": (2, 64)})
    sparse_of(
        data / "vae" / "kl.safetensors",
        {"decoder.conv_in.weight": (8, 4, 3, 3), "encoder.conv_in.weight": (8, 3, 3, 3)},
    )
    sparse_of(
        data / "vae" / "flux.safetensors",
        {"decoder.conv_in.weight": (8, 16, 3, 3), "encoder.conv_in.weight": (8, 3, 3, 3)},
    )
    app = compose(Settings(data_dir=data, checkpoint_dirs=(checkpoints,), hub_cache=None))
    yield app
    app.close()


def submit(app: App, **fields: object) -> dict[str, object]:
    job = app.studio.submit("local", "txt2img", {"checkpoint": "tiny", **fields})
    again = app.studio.rerun("local", job.id)
    assert again.request == job.request
    for one in (job, again):
        app.studio.cancel("local", one.id)
    return dict(job.request)


def test_tags_and_fields_are_decided_before_a_job_is_queued(app: App) -> None:
    request = submit(
        app,
        prompt="a fox <lora:wash:0.5:0.8>",
        loras=[{"name": "ink"}, {"name": "wash", "weight": -0.5}],
    )
    assert request["prompt"] == "a fox <lora:wash:0.5:0.8>"
    row = {"weight": 1.0, "text_weight": 1.0, "from_prompt": False}
    assert request["loras"] == [
        {**row, "name": "ink"},
        {**row, "name": "styles/wash", "weight": -0.5, "text_weight": -0.5},
        {"name": "styles/wash", "weight": 0.8, "text_weight": 0.5, "from_prompt": True},
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "a <lora:inc:1>"}, "There is no LoRA 'inc'"),
        ({"prompt": "a <lora:inc:1>"}, "Did you mean 'ink'"),
        ({"prompt": "a", "loras": [{"name": "nothing"}]}, "There is no LoRA 'nothing'"),
        ({"prompt": "a <lora: :1>"}, "names no LoRA"),
        ({"prompt": f"a <lora:{'x' * 300}:1>"}, "There is no LoRA 'xxx"),
        ({"prompt": "a <lora:gold:1>"}, "'gold' is not made for"),
        ({"prompt": "a", "negative_prompt": "b <lora:ink:1>"}, "negative prompt"),
        ({"prompt": "a <lora:ink:loud>"}, "is not a number"),
        ({"prompt": "a " + "<lora:ink:1>" * 17}, "at most 16"),
        ({"prompt": "a <hypernet:ink:1>"}, "hypernetwork"),
        ({"prompt": "a", "vae": "kk"}, "There is no VAE 'kk' in the folder 'vae'"),
        ({"prompt": "a", "vae": "flux"}, "The VAE 'flux' is not made for"),
        ({"prompt": "a", "loras": [{"name": "ink", "weight": 11}]}, "between -10 and 10"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_queued(
    app: App, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        submit(app, **fields)
    assert not app.studio.jobs("local", active_only=True)


def test_a_name_that_several_have_is_told(checkpoints: Path, tmp_path: Path) -> None:
    """On the page all are listed; a word in the prompt says which one it means, or what to write."""
    layers = {f"{LAYER}.lora_down.weight": (4, 32), f"{LAYER}.lora_up.weight": (16, 4)}
    data, other = tmp_path / "data", tmp_path / "comfy"
    for place in (data / "loras" / "ink", other / "models" / "loras" / "ink"):
        sparse_of(place.with_suffix(".safetensors"), layers)
        sparse_of(place.parent / place.parts[-4] / "wash.safetensors", layers)
        sparse_of(place.parents[1] / "embeddings" / "blob.safetensors", {"emb_params": (2, 32)})
    settings = Settings(
        data_dir=data, checkpoint_dirs=(checkpoints,), models_dirs=(other,), hub_cache=None
    )
    app = compose(settings)
    try:
        listed = [row["id"] for row in app.studio.choices()["loras"]]
        assert len(listed) == len(set(listed)) == 4 and {"ink", "loras/ink"} <= set(listed)
        job = app.studio.submit(
            "local", "txt2img", {"checkpoint": "tiny", "prompt": "blob <lora:ink>"}
        )
        app.studio.cancel("local", job.id)
        assert [note for note in job.notes if "Two" in note] == [
            "Two LoRAs are called 'ink': 'ink' is used, not 'loras/ink'.",
            "Two embeddings are called 'blob': 'blob' is used, not 'embeddings/blob'.",
        ]
        chosen = submit(app, prompt="a <lora:loras/ink>", loras=[{"name": "loras/ink"}])
        assert {row["name"] for row in chosen["loras"]} == {"loras/ink"}  # type: ignore[attr-defined]
        wanted = {"checkpoint": "tiny", "prompt": "a <lora:loras/ink>"}
        exact = app.studio.submit("local", "txt2img", wanted)
        app.studio.cancel("local", exact.id)
        assert not [note for note in exact.notes if "Two" in note]
        with pytest.raises(InvalidRequest, match="Two LoRAs are called 'wash': '"):
            submit(app, prompt="a <lora:wash>")
    finally:
        app.close()


def test_details_of_an_enlarged_picture_take_them_too(app: App) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "PNG")
    ask = {"image": app.studio.add_input("local", out.getvalue()), "prompt": "<lora:gone>"}
    job = app.studio.submit("local", "upscale", {**ask, "strength": 0.0})
    app.studio.cancel("local", job.id)
    with pytest.raises(InvalidRequest, match="no LoRA 'gone'"):
        app.studio.submit("local", "upscale", {**ask, "strength": 0.3, "checkpoint": "tiny"})


def picture(loras: list[dict[str, object]]) -> Picture:
    facts = {"loras": loras, "checkpoint": {"id": "tiny", "short": "0123456789"}}
    return Picture(index=0, seed=5, width=8, height=8, pixels=b"", facts=facts)


def dropped(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_a_picture_says_it_as_a1111_does_and_gives_it_back(app: App) -> None:
    request = submit(
        app, prompt="a fox <lora:wash:0.5>", loras=[{"name": "ink", "text_weight": 0.5}], steps=9
    )
    rows: list[dict[str, object]] = [
        {"name": "ink", "short": "a" * 12},
        {"name": "wash", "short": "b" * 12},
    ]
    text = infotext.write("txt2img", request, picture(rows))
    assert text.startswith("a fox <lora:wash:0.5> <lora:ink:0.5:1>\nSteps: 9")
    assert f'Lora hashes: "ink: {"a" * 12}, wash: {"b" * 12}"' in text
    assert f'"lora:ink":"{"a" * 12}"' in text
    found = app.studio.read_settings(dropped(text))
    assert found.prompt == "a fox <lora:wash:0.5> <lora:ink:0.5:1>"
    assert not [note for note in found.notes if "LoRA" in note]
    again = submit(app, prompt=found.prompt)
    assert {(row["name"], row["weight"], row["text_weight"]) for row in again["loras"]} == {
        (row["name"], row["weight"], row["text_weight"]) for row in request["loras"]
    }


def test_what_is_not_here_is_left_out_and_said(app: App) -> None:
    text = (
        "a <lora:ink:0.5> <lora:renamed:0.7> <lora:gone:1> b\nSteps: 9, Sampler: Euler a, Seed: 5"
    )
    text += f', Lora hashes: "renamed: {"ab" * 6}, gone: {"cd" * 6}"'
    found = app.studio.read_settings(dropped(text))
    assert found.prompt == found.fields["prompt"] == "a <lora:ink:0.5> <lora:ink:0.7>  b"
    assert [note for note in found.notes if "LoRA" in note] == [
        "The LoRA 'gone' is not here; its tag was taken out."
    ]


def test_tags_take_no_room_in_the_text_encoder(app: App) -> None:
    plain = app.studio.tokens("tiny", "a fox")
    assert app.studio.tokens("tiny", "a fox<lora:anything:1>") == plain


def test_words_that_stand_for_vectors_are_found(app: App) -> None:
    plain = submit(app, prompt="a blobby fox, large")
    assert (plain["embeddings"], plain["vae"]) == ([], "")
    request = submit(app, prompt="a fox", negative_prompt="bad, (Blob:1.2)", vae="KL")
    assert (request["embeddings"], request["vae"]) == (["blob"], "kl")


def test_an_embedding_takes_as_many_tokens_as_it_has_vectors(app: App) -> None:
    used = {word: app.studio.tokens("tiny", word)["used"] for word in ("a", "a blob", "blob,blob")}
    assert used["a blob"] == used["a"] + 2
    assert used["blob,blob"] == 5


def test_vae_and_embeddings_come_back_with_a_picture(app: App) -> None:
    facts = {
        "embeddings": [{"name": "blob", "short": "c" * 12}],
        "vae": {"name": "kl", "short": "d" * 10},
    }
    text = infotext.write(
        "txt2img",
        submit(app, prompt="a blob", vae="kl", steps=9),
        Picture(index=0, seed=5, width=8, height=8, pixels=b"", facts=facts),
    )
    assert f"VAE hash: {'d' * 10}, VAE: kl" in text
    assert f'TI hashes: "blob: {"c" * 12}"' in text
    found = app.studio.read_settings(dropped(text))
    assert found.fields["vae"] == "kl"
    assert not [note for note in found.notes if "VAE" in note or "embedding" in note]
    text = text.replace("blob", "glob").replace("VAE: kl", "VAE: lost")
    found = app.studio.read_settings(dropped(text))
    assert "vae" not in found.fields
    assert "The VAE 'lost' is not here; the checkpoint's own is used." in found.notes
    assert "The embedding 'glob' is not here: it is read as a word." in found.notes


def test_choices_say_what_each_fits(app: App) -> None:
    choices = app.studio.choices()
    fits = {row["id"]: "tiny" in row["fits"] for row in choices["loras"]}
    assert fits == {"ink": True, "styles/wash": True, "gold": False}
    assert {row["id"]: "tiny" in row["fits"] for row in choices["vaes"]} == {
        "kl": True,
        "flux": False,
    }
    [blob] = [row for row in choices["embeddings"] if row["fits"]]
    assert (blob["name"], blob["vectors"]) == ("blob", 2)


def test_what_is_read_beside_a_checkpoint_is_in_the_prediction(app: App) -> None:
    def peak(**fields: object) -> int:
        asked = {"checkpoint": "tiny", "width": 64, "height": 64, **fields}
        return app.studio.estimate("local", "txt2img", asked)["peak_bytes"]

    plain, seen = peak(prompt="a fox"), app.studio.seen_by("local")
    tiny = seen.checkpoint("tiny")
    ink, kl = seen.lora("ink", tiny).parameters, seen.vae("kl", tiny).parameters
    assert ink > 0 and kl > 0
    assert peak(prompt="a fox <lora:ink:1>") == plain + 4 * ink
    assert peak(prompt="a fox", vae="kl") == plain + 4 * kl


def test_weights_are_kept_in_a_chosen_way_with_extras_too(app: App) -> None:
    for prompt in ("a fox", "a fox <lora:ink:1>", "a blob"):
        assert submit(app, prompt=prompt)["weights"] == "planned"
        assert submit(app, prompt=prompt, vae="kl", weights="fp8")["weights"] == "fp8"
    fields = {"prompt": "a fox", "checkpoint": "tiny", "weights": "packed"}
    job = app.studio.submit("local", "txt2img", fields)
    app.studio.cancel("local", job.id)
    assert job.request["weights"] == "planned" and "left to the plan" in job.notes[-1]
    [tiny] = [row for row in app.studio.offers()["checkpoints"] if row["id"] == "tiny"]
    assert "packed" not in tiny["ways"] and "fp8" in tiny["ways"]
    with pytest.raises(InvalidRequest, match="eights"):
        submit(app, prompt="a fox", weights="tiny")
