"""Houses that tests of the web side share, each with other people let in."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI

from studio.api.access import Limits
from studio.app import App, compose
from studio.service.studio import Studio
from studio.settings import Settings
from tests.api.house import USERS, House, open_house


@pytest.fixture(scope="session")
def app(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A composed studio whose engine never starts: jobs stay queued."""
    folder = tmp_path_factory.mktemp("studio")
    app = compose(
        Settings(data_dir=folder, checkpoint_dirs=(checkpoints,), device="cpu", max_waiting=4)
    )
    yield app
    app.close()


def small_page(app: FastAPI, studio: Studio) -> FastAPI:
    """Gradio at "/" with one event, so that every route of Gradio's is there."""
    with gr.Blocks(title="Pochade", analytics_enabled=False) as page:
        said = gr.Textbox(elem_id="said")
        seen = gr.Textbox(elem_id="seen")
        said.submit(lambda text: text, said, seen, api_name="echo")
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        show_error=False,
    )


@pytest.fixture(scope="session")
def alone(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """On 127.0.0.1 without a login: everybody is "local"."""
    with open_house(app, tmp_path_factory.mktemp("alone"), mount=small_page) as house:
        yield house


@pytest.fixture(scope="session")
def locked(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With two users."""
    with open_house(
        app, tmp_path_factory.mktemp("locked"), mount=small_page, users=USERS, local_token="L" * 43
    ) as house:
        yield house


@pytest.fixture(scope="session")
def public(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For everybody, on every address."""
    with open_house(
        app,
        tmp_path_factory.mktemp("public"),
        mount=small_page,
        public=True,
        host="0.0.0.0",
        limits=Limits(sessions_per_minute=30),
    ) as house:
        yield house
