"""A page about the API made from its own OpenAPI document: no script, no network."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from studio.api import pages
from studio.api.routes._routes import DEFAULT_TASK
from studio.service.studio import Studio

VERBS = ("get", "post", "put", "patch", "delete")


def describe(app: FastAPI, studio: Studio) -> None:
    """Adds the tasks to the OpenAPI document of `app`, when it is made: not before somebody asks."""
    without_tasks = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            without_tasks()["components"]["schemas"]["AnyTask"] = any_task(studio)
        return without_tasks()

    app.openapi = openapi


def any_task(studio: Studio) -> dict[str, Any]:
    """JSON schema of any task's request with its name in `task`."""
    return {
        "oneOf": [
            {
                **task["schema"],
                "title": task["label"],
                "properties": {
                    "task": {"const": task["id"]},
                    **task["schema"].get("properties", {}),
                },
                "required": [
                    *(["task"] if task["id"] != DEFAULT_TASK else []),
                    *task["schema"].get("required", ()),
                ],
            }
            for task in studio.choices()["tasks"]
        ]
    }


def router(app: FastAPI) -> APIRouter:
    """GET /api/docs."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/api/docs")
    def show() -> Response:
        return pages.page("API", render(app.openapi()), wide=True)

    return routes


def render(document: dict[str, Any]) -> str:
    parts = [
        "<h1>Pochade's API</h1>",
        "<p>Plain HTTP and JSON; the whole of it as OpenAPI is at "
        "<a href='/api/openapi.json'>/api/openapi.json</a>. Where a login is set, send it as HTTP "
        "Basic (<code>curl -u name:password</code>). Every error is "
        "<code>{&quot;error&quot;: {&quot;message&quot;, &quot;hint&quot;, &quot;field&quot;}}</code>.</p>",
        "<h2>A picture in three calls</h2><pre>"
        "curl -H 'Content-Type: application/json' \\\n"
        '     -d \'{"task": "txt2img", "prompt": "a lighthouse at dusk"}\' \\\n'
        "     http://127.0.0.1:7860/api/jobs\n"
        "curl -N http://127.0.0.1:7860/api/jobs/ID/events\n"
        "curl -o picture.png http://127.0.0.1:7860/api/images/ID/file</pre>",
    ]
    parts += [
        _operation(path, verb, verbs[verb], document["components"]["schemas"])
        for path, verbs in document["paths"].items()
        for verb in VERBS
        if verb in verbs
    ]
    return "".join(parts)


def _operation(path: str, verb: str, operation: dict[str, Any], schemas: Mapping[str, Any]) -> str:
    parameters = [
        found["name"] for found in operation.get("parameters", ()) if found["in"] == "query"
    ]
    query = f"<p>Query: <code>{escape(', '.join(parameters))}</code></p>" if parameters else ""
    return (
        f"<h2>{escape(operation.get('summary', ''))}</h2>"
        f"<pre>{verb.upper()} {escape(path)}</pre>"
        f"<p>{_text(operation.get('description', ''))}</p>{query}{_tasks(operation, schemas)}"
    )


def _text(markdown: str) -> str:
    """A description as HTML: what is between backticks is code."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(markdown))


def _tasks(operation: dict[str, Any], schemas: Mapping[str, Any]) -> str:
    """The settings of each task, where the body is a task's request."""
    content = operation.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema", {})
    tasks = schemas.get(body.get("$ref", "").rpartition("/")[2], {}).get("oneOf", ())
    parts = []
    for task in tasks:
        rows = "".join(
            f"<p><code>{escape(name)}</code> {_text(rule.get('description', ''))}</p>"
            for name, rule in task["properties"].items()
            if name != "task"
        )
        name = task["properties"]["task"]["const"]
        parts.append(f"<details><summary>The settings of {escape(name)}</summary>{rows}</details>")
    return "".join(parts)
