"""Descriptions of request bodies for ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel


def json_body(body: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its body is; the route reads it itself."""
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def query_parameters(query: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its query is; the route reads it itself."""
    fields = query.model_json_schema()["properties"]
    return {"parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]}


def table_body(content_types: Iterable[str]) -> dict[str, Any]:
    """Return the part of a route's description that says that its body is a table."""
    content = {content_type: {"schema": {"type": "string"}} for content_type in content_types}
    return {"requestBody": {"required": True, "content": content}}
