"""S23: something that a browser would run, uploaded as a picture."""

import pytest

from tests.api.house import House, complaint, png

HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
XHTML = b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><script>1</script></html>"


@pytest.mark.parametrize(
    "kind", ["image/png", "application/octet-stream", "text/html", "image/svg+xml"]
)
@pytest.mark.parametrize(
    "data",
    [
        HTML,
        SVG,
        XHTML,
        png() + HTML,
        b"GIF89a" + HTML,
        b"%PDF-1.4\n",
        b"PK\x03\x04" + HTML,
        b"MZ" + HTML,
    ],
    ids=["html", "svg", "xhtml", "png+html", "gif", "pdf", "zip", "exe"],
)
def test_only_pictures_come_in(alone: House, kind: str, data: bytes) -> None:
    with alone.client() as client:
        raw = client.post("/api/inputs", content=data, headers={"content-type": kind})
        complaint(raw, 415)
        complaint(client.post("/api/inputs", files={"file": ("a.png", data, kind)}), 415)


def test_what_is_served_is_a_picture_and_nothing_else(alone: House) -> None:
    record = alone.picture("local", "<script>alert(1)</script>")
    with alone.client() as client:
        for part, kind in (("file", "image/png"), ("thumb", "image/webp")):
            answer = client.get(f"/api/images/{record.id}/{part}")
            assert answer.headers["content-type"] == kind
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in answer.headers["content-security-policy"]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
