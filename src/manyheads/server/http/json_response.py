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
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return Response(body.encode(), status, headers, media_type="application/json")
