"""Descriptions of requests and responses for ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from manyheads.server.wire.errors import Failure, InvalidBody

# What a route that reads a body and needs the model may answer beside 200.
ANSWERING = (400, 401, 408, 413, 422, 429, 500, 503, 504)
_COMPONENTS = "#/components/schemas/"


def json_body(body: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its body is; the route reads it itself."""
    schema = body.model_json_schema(ref_template=_COMPONENTS + "{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def query_parameters(query: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its query is; the route reads it itself."""
    fields = query.model_json_schema()["properties"]
    return {"parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]}


def table_body(content_types: Iterable[str]) -> dict[str, Any]:
    """Return the part of a route's description that says that its body is a table."""
    content = {content_type: {"schema": {"type": "string"}} for content_type in content_types}
    return {"requestBody": {"required": True, "content": content}}


def responses_of(answer: type[BaseModel], statuses: Sequence[int] = ANSWERING) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route.

    Args:
        answer: The body with status 200.
        statuses: The other statuses; their bodies are the same on every route.
    """
    return {200: {"model": answer}, **{status: _error(status) for status in statuses}}


def text_responses(statuses: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with text of several types.

    Args:
        statuses: The statuses beside 200.
    """
    return {
        200: {"content": {"*/*": {"schema": {"type": "string"}}}},
        **{status: _error(status) for status in statuses},
    }


def table_responses(content_type: str) -> dict[int | str, dict[str, Any]]:
    """Return the ``responses`` of a route that answers with a table."""
    answer = {"description": "The scored table", "content": {content_type: {"schema": {"type": "string"}}}}
    return {200: answer, **{status: _error(status) for status in (*ANSWERING, 415)}}


def add_components(app: FastAPI) -> None:
    """Let ``/openapi.json`` hold the schemas of request bodies, and those they consist of, as components."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = deepcopy(generate())
        components = document.setdefault("components", {}).setdefault("schemas", {})
        for content in _request_contents(document):
            schema = content["schema"]
            if "$ref" in schema:
                continue
            components.update(schema.pop("$defs", {}))
            components[schema["title"]] = schema
            content["schema"] = {"$ref": _COMPONENTS + schema["title"]}
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _request_contents(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for operation in path.values():
            contents = operation.get("requestBody", {}).get("content", {})
            yield from (content for kind, content in contents.items() if kind == "application/json")


def _error(status: int) -> dict[str, Any]:
    return {"model": InvalidBody if status == 422 else Failure, "description": HTTPStatus(status).phrase}
