"""S22: mistakes with CORS. There is none of it here, on no name."""

import pytest

from tests.api.house import House

PATHS = (
    "/",
    "/config",
    "/theme.css",
    "/api/live",
    "/api/choices",
    "/gradio_api/queue/data",
    "/login",
)


@pytest.mark.parametrize(
    "origin",
    ["null", "http://localhost.evil", "https://evil.example", "http://localhost:3000", "same"],
)
@pytest.mark.parametrize("host", ["localhost", "x.gradio.live"])
def test_no_answer_lets_another_origin_read_it(alone: House, origin: str, host: str) -> None:
    alone.access.hosts.add("x.gradio.live", https=True)
    own = f"https://{host}" if host.endswith("live") else f"http://{host}"
    headers = {"host": host, "origin": own if origin == "same" else origin}
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    with alone.client(headers=headers) as client:
        for path in PATHS:
            for answer in (client.get(path), client.options(path, headers=asks)):
                leaks = [name for name in answer.headers if name.startswith("access-control-")]
                assert not leaks, (path, leaks)
    alone.access.hosts.end("x.gradio.live")
