"""Each stored header belongs to exactly the family it is named after."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio import samplers
from studio.discovery import DrawerError, open_drawer
from studio.families._family import Family, Role
from studio.families._identify import identify
from studio.families._keys import has

FAMILIES = open_drawer("studio.families", Family)
HEADERS = sorted((Path(__file__).parent / "headers").glob("*.json"))
CONFIGS = Path(__file__).parents[2] / "assets" / "configs"


@pytest.mark.parametrize("file", HEADERS, ids=lambda file: file.stem)
def test_a_header_belongs_to_the_family_in_its_name(file: Path) -> None:
    shapes = {key: tuple(shape) for key, shape in json.loads(file.read_text()).items()}
    expected = file.stem.partition("-")[0]
    matching = [family.id for family in FAMILIES.values() if family.keys(shapes)]
    assert matching == ([] if expected == "none" else [expected])
    found = identify(shapes, FAMILIES)
    assert (found.id if found else "none") == expected


def test_a_unet_may_attend_to_text_further_in() -> None:
    """As one may whose outer levels are too large for that."""
    header = json.loads((HEADERS[0].parent / "sd15-folder.json").read_text())
    outer = ("unet.down_blocks.0.attentions.", "unet.down_blocks.1.attentions.")
    shapes = {key: tuple(shape) for key, shape in header.items() if not key.startswith(outer)}
    assert len(shapes) < len(header)
    found = identify(shapes, FAMILIES)
    assert found and found.id == "sd15"


def test_every_family_has_a_header_of_each_layout() -> None:
    stems = {file.stem for file in HEADERS}
    # those of files that hold a denoiser alone are compared in tests/engine/test_denoiser_files.py
    known = [name for name, family in FAMILIES.items() if family.configs and not family.needs]
    assert {f"{name}-{layout}" for name in known for layout in ("file", "folder")} <= stems


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.id)
def test_a_family_says_only_what_exists(family: Family) -> None:
    """Its defaults, configs and roles can be used as they stand."""
    for defaults in filter(None, (family.defaults, family.quick)):
        assert defaults.sampler in family.samplers
    assert set(family.samplers) <= {row.id for row in samplers.ROWS}
    assert family.native_px % family.multiple_px == 0
    assert {Role.TEXT, Role.INPAINT} & family.pipelines.keys()
    assert family.optional <= family.components.keys()
    if not family.configs:
        return
    index = json.loads((CONFIGS / family.configs / "model_index.json").read_text())
    for name, kinds in family.components.items():
        assert index[name][1] == kinds[0]
        assert list((CONFIGS / family.configs / name).glob("*config.json"))


def family(name: str, *keys: str, before: tuple[str, ...] = ()) -> Family:
    return replace(next(iter(FAMILIES.values())), id=name, keys=has(*keys), before=before)


def drawer(*families: Family) -> dict[str, Family]:
    return {family.id: family for family in families}


def test_the_family_that_comes_before_wins_also_by_way_of_another() -> None:
    last, middle = family("a", "k", before=("b",)), family("b", "other", before=("c",))
    first = family("c", "k")
    for order in ((last, middle, first), (first, middle, last)):
        found = identify({"k": (1,)}, drawer(*order))
        assert found is first


def test_two_matches_without_an_order_are_an_error() -> None:
    with pytest.raises(DrawerError, match="a and b claim the same weights"):
        identify({"k": (1,)}, drawer(family("a", "k"), family("b", "k")))


def test_a_circle_and_an_unknown_name_are_errors() -> None:
    circle = drawer(family("a", "k", before=("b",)), family("b", "k", before=("a",)))
    with pytest.raises(DrawerError, match="each come before the other"):
        identify({"k": (1,)}, circle)
    with pytest.raises(DrawerError, match="after 'nobody', which is not there"):
        identify({"k": (1,)}, drawer(family("a", "k", before=("nobody",))))


@pytest.mark.parametrize(
    ("expected", "keys"),
    [
        ("flux", {"img_in.weight": (8, 64), "vector_in.in_layer.weight": (8, 8), "guidance_in.in_layer.weight": (8, 8)}),
        ("flux_schnell", {"img_in.weight": (8, 64), "vector_in.in_layer.weight": (8, 8)}),
        ("flux_fill", {"img_in.weight": (8, 384), "vector_in.in_layer.weight": (8, 8), "guidance_in.in_layer.weight": (8, 8)}),
    ],
)  # fmt: skip
def test_single_files_of_flux_are_told_apart(
    expected: str, keys: dict[str, tuple[int, ...]]
) -> None:
    for shapes in (keys, {f"model.diffusion_model.{key}": shape for key, shape in keys.items()}):
        assert [f.id for f in FAMILIES.values() if f.keys(shapes)] == [expected]
