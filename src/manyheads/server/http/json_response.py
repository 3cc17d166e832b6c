"""JSON responses: every number with all its digits, text as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a value as JSON.

    Floats are written with as many digits as their exact value needs, so that a client reads the same float64.

    Raises:
        ValueError: a NaN or an infinity, which JSON does not have.
    """
    return Response(as_json(value), status, headers, media_type="application/json")


def as_json(value: object) -> bytes:
    """Return a value as JSON, on one line.

    Raises:
        ValueError: a NaN or an infinity.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str).encode()
