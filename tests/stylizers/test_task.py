"""The task `style`: a picture and styles in, the restyled picture out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest, TooLarge
from studio.core.intake import inspect
from studio.core.requests import parse
from studio.paths import STYLES
from studio.tasks.style import TASK, Restyle, resolve
from tests.pictures import Seen, answer, ask, make_desk, photograph, ref


class TestResolved:
    facts = Seen(
        a=Image.new("RGB", (30, 20)),
        b=Image.new("RGB", (300, 200)),
        c=Image.new("RGB", (4, 4)),
    )

    def asked(self, **fields) -> Restyle:
        return parse(Restyle, {"image": ref("a"), "styles": [{"image": ref("b")}], **fields})

    def test_settings_are_filled_in(self) -> None:
        found = resolve(self.asked(), self.facts).request
        assert found.params == {"detail_px": 1024}
        assert resolve(found, self.facts).request == found

    def test_it_knows_what_it_is_made_from(self) -> None:
        twice = self.asked(styles=[{"image": ref("b")}, {"image": ref("b")}, {"image": ref("a")}])
        assert TASK.pictures(twice) == (ref("a"), ref("b"))

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"styles": []}, "No style picture is chosen"),
            ({"styles": [{"image": ref("b"), "weight": 0}]}, "weights of all style pictures are 0"),
            ({"styles": [{"image": ref("c")}]}, "only 4×4 px"),
            ({"styles": [{"image": ref("b")}] * 9}, "Styles"),
            ({"styles": [{"image": ref("b"), "weight": -1}]}, "Styles"),
            ({"styles": [{"image": "nothing"}]}, "Styles"),
            ({"method": "magic"}, "no style method 'magic'"),
            ({"strength": 1.5}, "between 0 and 1"),
            ({"params": {"detail_px": 8}}, "between 256 and 2048"),
        ],
    )
    def test_nonsense_is_refused(self, fields: dict, words: str) -> None:
        with pytest.raises(InvalidRequest, match=words):
            resolve(self.asked(**fields), self.facts)


def test_a_style_of_8000_by_8000_is_refused_at_the_door() -> None:
    from io import BytesIO

    file = BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    with pytest.raises(TooLarge):
        inspect(file.getvalue())


def test_a_picture_is_restyled(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    with Image.open(STYLES / "night.webp") as image:
        style = desk.put(image.convert("RGBA"), tmp_path)
    source = desk.put(photograph("coffee").resize((300, 200)), tmp_path)
    made = {}
    for kept in (False, True):
        ending = ask(
            desk,
            "style",
            image=source,
            styles=[{"image": style, "weight": 3}, {"image": source, "weight": 0}],
            keep_colours=kept,
        )
        assert ending["op"] == "done", ending
        made[kept], facts = answer(desk)
        assert made[kept].size == (300, 200)
        assert facts["stylizer"] == "neural"
    blue = [np.asarray(made[kept], float).mean(axis=(0, 1)) for kept in (False, True)]
    assert blue[0][2] > blue[0][0], "the night is blue"
    assert blue[1][0] > blue[1][2], "the table is brown"
