"""Descriptions of request bodies for ``/openapi.json``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def json_body(body: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its body is; the route reads it itself."""
    schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
