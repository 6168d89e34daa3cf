"""Values of forms about looks: style references, styles in words, and methods that paint."""

from studio.ui.tabs import style
from studio.ui.widgets import presets, references

REFS = ("a" * 64, "b" * 32)


def test_references_go_into_a_request_and_come_back() -> None:
    values = {
        "references": " ".join(REFS),
        "reference_weight": 0.5,
        "reference_method": "adapter",
        "reference_takes": "all",
    }
    fields = references.fields(values)
    common = {"weight": 0.5, "method": "adapter", "takes": "all"}
    assert fields == {"references": [{"image": ref, **common} for ref in REFS]}
    assert references.form_values(fields) == values
    assert references.fields({"references": ""}) == {}
    for nonsense in ({}, {"references": 7}, {"references": [3, {"image": "x"}]}):
        assert references.form_values(nonsense) == {"references": ""}


def test_names_of_styles_are_read_from_a_draft_of_doubtful_origin() -> None:
    assert presets.names('["A", 3, "B"]') == ["A", "B"]
    for nonsense in ("", "{", "7", None, '{"a": 1}'):
        assert presets.names(nonsense) == []


def test_only_methods_that_paint_send_words() -> None:
    values = {
        "image": REFS[0],
        "styles": REFS[1],
        "method": "shared",
        "prompt": "a fox",
        "presets": '["Linocut"]',
        "structure": "depth",
        "steps": 9,
        "width": 64,
        "seed_mode": "Random",
    }
    [asked] = style.to_requests(values)
    assert asked["prompt"] == "a fox" and asked["steps"] == 9
    assert (asked["presets"], asked["structure"]) == (["Linocut"], "depth")
    assert "width" not in asked and "count" not in asked
    [plain] = style.to_requests({**values, "method": "neural"})
    assert set(plain) == {"image", "styles", "method"}
    [words] = style.to_requests({**values, "method": "words", "styles": "", "structure": "auto"})
    assert words["styles"] == [] and "structure" not in words
    again = style.from_settings({**asked, "seed": 7})
    assert (again["prompt"], again["structure"], again["seed"]) == ("a fox", "depth", "7")
