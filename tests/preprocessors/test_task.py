"""The task `preprocess`: a picture in, its map out, with everything said about it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.requests import parse
from studio.preprocessors import canny
from studio.preprocessors._people import from_json
from studio.tasks.preprocess import TASK, Preprocess, resolve
from tests.pictures import Seen, answer, ask, make_desk, photograph, ref


class TestResolved:
    facts = Seen(a=Image.new("RGB", (30, 20)))

    def asked(self, **fields) -> Preprocess:
        return parse(Preprocess, {"image": ref("a"), **fields})

    def test_settings_are_filled_in(self) -> None:
        found = resolve(self.asked(params={"low": 7}), self.facts).request
        assert found.params == {"low": 7, "high": 200, "detail_px": 512}
        assert resolve(found, self.facts).request == found

    def test_it_knows_what_it_is_made_from(self) -> None:
        assert TASK.pictures(self.asked()) == (ref("a"),)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"preprocessor": "magic"}, "no preprocessor 'magic'"),
            ({"params": {"low": 0}}, "between 1 and 1000"),
            ({"params": {"lower": 3}}, "no setting called 'lower'"),
            ({"preprocessor": "blur", "params": {"low": 3}}, "no setting called 'low'"),
            ({"preprocessor": "hed"}, "weights of HED are not here"),
        ],
    )
    def test_nonsense_is_refused(self, fields: dict, words: str) -> None:
        with pytest.raises(InvalidRequest, match=words):
            resolve(self.asked(**fields), self.facts)


def test_a_map_comes_out_with_its_facts(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    source = desk.put(photograph("coffee"), tmp_path)
    ending = ask(desk, "preprocess", image=source, preprocessor="canny", params={"low": 50})
    assert ending["op"] == "done", ending
    image, facts = answer(desk)
    expected = canny.run(photograph("coffee"), canny.Canny(low=50)).image
    assert image.tobytes() == expected.tobytes()
    assert (facts["preprocessor"], facts["kind"]) == ("canny", "edges")
    assert "pose" not in facts


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clear = Image.new("RGBA", (64, 48), (255, 0, 0, 0))
    ask(desk, "preprocess", image=desk.put(clear, tmp_path), preprocessor="blur", params={})
    assert np.asarray(answer(desk)[0]).min() == 255


def test_people_come_as_data_too_and_are_remembered(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    source = desk.put(photograph("astronaut"), tmp_path)
    ask(desk, "preprocess", image=source, preprocessor="pose", params={})
    first, facts = answer(desk)
    (person,) = from_json(facts["pose"], first.size)
    assert person.confidence > 0.8
    assert len(list((tmp_path / "maps").iterdir())) == 1

    # a second time it is read, not found again: what lies there is what comes
    file = next((tmp_path / "maps").iterdir())
    with Image.open(file) as kept:
        kept.load()
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text("people", kept.info["people"])
        Image.new("RGB", kept.size, (1, 2, 3)).save(file, pnginfo=text)
    ask(desk, "preprocess", image=source, preprocessor="pose", params={})
    again, told = answer(desk)
    assert again.getpixel((0, 0)) == (1, 2, 3)
    assert told["pose"] == facts["pose"]
    # another setting is another map, and a damaged file is made again
    ask(desk, "preprocess", image=source, preprocessor="pose", params={"most": 1})
    assert answer(desk)[0].tobytes() == first.tobytes()
    file.write_bytes(b"not a picture")
    ask(desk, "preprocess", image=source, preprocessor="pose", params={})
    assert answer(desk)[0].tobytes() == first.tobytes()


def test_nobody_and_nothing_are_sentences(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    source = desk.put(photograph("coffee"), tmp_path)
    ending = ask(desk, "preprocess", image=source, preprocessor="pose", params={})
    assert ending["op"] == "failed"
    assert ending["message"] == "No person was found in this picture."
    ending = ask(desk, "preprocess", image=source, preprocessor="hed", params={})
    assert ending["op"] == "failed"
    assert "weights of HED are not here" in ending["message"]
    assert "lllyasviel/Annotators" in ending["hint"]
