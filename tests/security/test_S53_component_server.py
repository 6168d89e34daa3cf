"""S53: Gradio's route that calls methods of components."""

import pytest

from tests.api.house import House, complaint
from tests.security.peak import peak_below


@pytest.mark.parametrize("path", ["/gradio_api/component_server", "/gradio_api/component_server/"])
def test_it_is_closed_and_costs_nothing(alone: House, path: str) -> None:
    body = {"session_hash": "a", "component_id": 1, "fn_name": "ls", "data": ["x" * 500_000]}
    with alone.client() as client, peak_below(60):
        for _ in range(20):
            complaint(client.post(path, json=body), 403)
