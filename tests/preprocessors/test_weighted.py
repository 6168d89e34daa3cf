"""Preprocessors that need weights: run with random ones of the right shapes, and refused without."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.app import compose
from studio.core.errors import InvalidRequest
from studio.discovery import open_drawer
from studio.preprocessors._preprocessor import Kind, Preprocessor, Weights
from studio.preprocessors._stopping import between_layers
from studio.preprocessors._weights import Places, find, opened
from studio.settings import Settings

ENTRIES = open_drawer("studio.preprocessors", Preprocessor)
WEIGHTED = [entry for entry in ENTRIES.values() if entry.needs]
LABELS = {entry.id: entry.label for entry in ENTRIES.values()}


def named(entry: Preprocessor) -> str:
    return entry.id


def weights(entry: Preprocessor) -> Weights:
    assert entry.needs is not None
    return entry.needs


def save(module, file: Path, wrap: Callable = lambda state: state) -> None:
    import torch

    torch.manual_seed(0)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(wrap(module.state_dict()), file)


def hed(folder: Path) -> None:
    from controlnet_aux.hed import ControlNetHED_Apache2

    save(ControlNetHED_Apache2(), folder / "ControlNetHED.pth")


def pidinet(folder: Path) -> None:
    from controlnet_aux.pidi.model import pidinet as network

    save(network(), folder / "table5_pidinet.pth", lambda state: {"state_dict": state})


def lineart(folder: Path) -> None:
    from controlnet_aux.lineart import Generator

    for name in ("sk_model.pth", "sk_model2.pth"):
        save(Generator(3, 1, 3), folder / name)


def lineart_anime(folder: Path) -> None:
    import functools

    from controlnet_aux.lineart_anime import UnetGenerator
    from torch import nn

    norm = functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)
    save(UnetGenerator(3, 1, 8, 64, norm_layer=norm, use_dropout=False), folder / "netG.pth")


def mlsd(folder: Path) -> None:
    from controlnet_aux.mlsd.models.mbv2_mlsd_large import MobileV2_MLSD_Large

    save(MobileV2_MLSD_Large(), folder / "mlsd_large_512_fp32.pth")


def teed(folder: Path) -> None:
    from controlnet_aux.teed.ted import TED

    save(TED(), folder / "5_model.pth")


def anyline(folder: Path) -> None:
    from controlnet_aux.teed.ted import TED

    save(TED(), folder / "Anyline" / "MTEED.pth")


def depth_anything(folder: Path) -> None:
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        apply_layernorm=True,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 16, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)


def midas(folder: Path) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=64,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 16, 16, 16],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    DPTForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def openpose(folder: Path) -> None:
    from controlnet_aux.open_pose.model import bodypose_model

    def flat(state):
        # the published file calls each layer by its last name alone
        return {key.split(".", 1)[1]: value for key, value in state.items()}

    save(bodypose_model(), folder / "body_pose_model.pth", flat)


MADE: dict[str, Callable[[Path], None]] = {
    function.__name__: function
    for function in (
        hed, pidinet, lineart, lineart_anime, mlsd, teed, anyline, depth_anything, midas, openpose,
    )
}  # fmt: skip
BY_HAND = {"dwpose"}
"""Those whose files cannot be made here: see test_pose.py."""


def test_every_one_is_tried() -> None:
    assert set(MADE) | BY_HAND == {entry.id for entry in WEIGHTED}


@pytest.mark.slow
@pytest.mark.parametrize("entry", [ENTRIES[name] for name in MADE], ids=named)
def test_it_runs_with_weights_of_the_right_shape(entry: Preprocessor, tmp_path: Path) -> None:
    folder = tmp_path / weights(entry).repo.rpartition("/")[2]
    MADE[entry.id](folder)
    run = opened(entry, Places(folders=(tmp_path,)), LABELS)
    picture = Image.effect_noise((150, 100), 60).convert("RGB")
    if entry.kind is Kind.POSE:
        with pytest.raises(InvalidRequest, match="No person"):
            run(picture, entry.params(detail_px=64))
        return
    made = run(picture, entry.params(detail_px=64)).image
    assert (made.mode, made.size) == ("RGB", picture.size)
    assert np.array_equal(made, run(picture, entry.params(detail_px=64)).image)


@pytest.mark.parametrize("entry", WEIGHTED, ids=named)
class TestAbsent:
    def test_it_says_what_is_missing_and_what_to_do(self, entry: Preprocessor, tmp_path) -> None:
        with pytest.raises(InvalidRequest) as caught:
            opened(entry, Places(folders=(tmp_path,), hub=tmp_path / "hub"), LABELS)
        wanted = weights(entry)
        told = str(caught.value)
        assert wanted.label in told
        assert wanted.repo in told
        assert wanted.licence in told
        assert all(file in told for file in wanted.files)
        assert str(tmp_path) not in told

    def test_what_stands_in_needs_nothing(self, entry: Preprocessor, tmp_path) -> None:
        other = ENTRIES[weights(entry).instead]
        assert other.needs is None
        assert other.kind is entry.kind

    def test_it_is_found_where_people_put_it(self, entry: Preprocessor, tmp_path) -> None:
        wanted = weights(entry)
        owner, name = wanted.repo.split("/")
        snapshot = tmp_path / "hub" / f"models--{owner}--{name}" / "snapshots" / "abc"
        own = tmp_path / "annotators" / name
        places = Places(folders=(tmp_path / "annotators",), hub=tmp_path / "hub")
        for folder in (snapshot, own):
            for file in wanted.files:
                assert find(wanted, places) != folder, "found before all of it is there"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).touch()
            assert find(wanted, places) == folder


def test_a_stranger_s_config_is_not_taken_for_it(tmp_path: Path) -> None:
    wanted = weights(ENTRIES["midas"])
    for file in wanted.files:
        (tmp_path / file).touch()
    assert find(wanted, Places(folders=(tmp_path,))) is None


def test_the_studio_says_which_are_ready_and_queues_no_job_without(tmp_path: Path) -> None:
    app = compose(Settings(data_dir=tmp_path))
    try:
        picture = io.BytesIO()
        Image.new("RGB", (32, 32)).save(picture, "PNG")
        ref = app.studio.add_input("local", picture.getvalue())
        asked = {"image": ref, "preprocessor": "mlsd"}
        unit = {"prompt": "a house", "units": [{**asked, "kind": "edges"}]}
        for task, fields in (("preprocess", asked), ("control", unit), ("txt2img", unit)):
            with pytest.raises(InvalidRequest, match="weights of MLSD are not here"):
                app.studio.submit("local", task, fields)
        assert app.studio.jobs("local") == ()
        told = {row["id"]: row for row in app.studio.choices()["preprocessors"]}
        assert told["canny"]["ready"] and told["canny"]["needs"] is None
        assert not told["mlsd"]["ready"]
        assert told["mlsd"]["needs"]["instead"] == "canny"
        file = tmp_path / "annotators" / weights(ENTRIES["mlsd"]).files[0]
        file.parent.mkdir()
        file.touch()
        told = {row["id"]: row for row in app.studio.choices()["preprocessors"]}
        assert told["mlsd"]["ready"]
        assert app.studio.submit("local", "preprocess", asked).state == "queued"
    finally:
        app.close()


def test_a_network_is_left_between_two_layers() -> None:
    import torch

    passed: list[int] = []

    def check() -> None:
        if len(passed) == 2:
            raise InterruptedError
        passed.append(1)

    network = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(4)))
    with pytest.raises(InterruptedError), between_layers(check):
        network(torch.zeros(1))
    network(torch.zeros(1))
    assert len(passed) == 2, "it is asked no more afterwards"
