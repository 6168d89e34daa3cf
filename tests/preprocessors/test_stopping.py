"""Work that knows no way to be stopped is left behind by who does not want it any more."""

from threading import Event
from typing import Any

import numpy as np
import pytest
import skimage.segmentation

from studio.preprocessors._areas import areas
from studio.preprocessors._stopping import heard, wanted


class Unwanted(Exception):
    pass


def test_what_it_makes_and_what_it_raises_arrive() -> None:
    assert heard(lambda: 7, wanted) == 7
    with pytest.raises(ZeroDivisionError):
        heard(lambda: 1 / 0, wanted)


def test_stop_is_heard_while_a_picture_is_cut_into_areas(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, enough = Event(), Event()

    def endless(*_: Any, **__: Any) -> Any:
        begun.set()
        enough.wait(20)
        return np.zeros((8, 8))

    def check() -> None:
        if begun.is_set():
            raise Unwanted

    monkeypatch.setattr(skimage.segmentation, "felzenszwalb", endless)
    try:
        with pytest.raises(Unwanted):
            areas(np.zeros((8, 8, 3), np.uint8), likeness=4.0, least=0.0, check=check)
        assert not enough.is_set()
    finally:
        enough.set()
