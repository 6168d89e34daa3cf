"""S25: markup in the metadata of a dropped picture."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.api.house import House

EVIL = "<script>window.__xss=1</script><img src=x onerror=alert(1)>"


def test_settings_of_a_picture_come_back_as_data(alone: House) -> None:
    out, told = io.BytesIO(), PngInfo()
    told.add_text(
        "parameters", f"{EVIL}\nNegative prompt: {EVIL}\nSteps: 20, Sampler: Euler, Seed: 1"
    )
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=told)
    with alone.client(headers={"accept": "text/html"}) as client:
        answer = client.post("/api/settings-from-picture", content=out.getvalue())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["prompt"] == EVIL
    assert answer.json()["negative_prompt"] == EVIL
