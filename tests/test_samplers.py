"""The table of samplers: every name leads to one row."""

import pytest

from studio import samplers
from studio.core.errors import InvalidRequest
from studio.samplers import ROWS, find, find_a1111


def test_ids_and_labels_are_unique() -> None:
    names = [
        name for row in ROWS for name in {samplers._folded(row.id), samplers._folded(row.label)}
    ]
    assert len(names) == len(set(names))
    assert len({row.a1111 for row in ROWS}) == len(ROWS) >= 14


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_name_finds_its_row(row: samplers.Sampler) -> None:
    for name in (row.id, row.label, row.label.upper(), f" {row.label} ", *row.aliases):
        assert find(name) is row
    assert find_a1111(*row.a1111) is row


@pytest.mark.parametrize(
    ("sampler", "schedule", "found"),
    [
        ("DPM++ 2M", "Automatic", "dpmpp_2m_karras"),
        ("DPM++ 2M", "", "dpmpp_2m"),
        ("DPM++ 2M Karras", "", "dpmpp_2m_karras"),
        ("DPM++ 2M SDE", "Automatic", "dpmpp_2m_sde_exponential"),
        ("Euler a", "Uniform", "euler_a"),
        ("euler a", "automatic", "euler_a"),
        ("DPM++ SDE Karras", "Automatic", "dpmpp_sde_karras"),
    ],
)
def test_a1111_names(sampler: str, schedule: str, found: str) -> None:
    assert find_a1111(sampler, schedule).id == found


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="no sampler called 'Eulr'") as caught:
        find("Eulr")
    assert "DPM++ 2M Karras" in caught.value.hint
    assert caught.value.field == "sampler"
    with pytest.raises(InvalidRequest) as caught:
        samplers.fitting("Eulr", ("flow_euler", "flow_unipc"))
    assert caught.value.hint == "Choose Euler (flow) or UniPC (flow)."


@pytest.mark.parametrize(
    ("name", "found"),
    [("Euler", "flow_euler"), ("euler_karras", "flow_euler"), ("flow_unipc", "flow_unipc")],
)
def test_a_flow_has_a_namesake_of_what_a1111_calls_alike(name: str, found: str) -> None:
    row = samplers.fitting(name, samplers.FLOW)
    assert row is not None and row.id == found


def test_what_a_flow_cannot_do_has_no_namesake() -> None:
    assert samplers.fitting("Heun", samplers.FLOW) is None
    assert samplers.fitting("flow_euler", samplers.DIFFUSION) is find("euler")
