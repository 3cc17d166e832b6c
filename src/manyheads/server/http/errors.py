"""Errors as responses: the same shapes on every route.

A body that is not valid: 422 with ``{"detail": [{"loc": ["body", ...], "msg": ..., "type": ...}]}``. Every other error:
``{"detail": {"error_type": ..., "message": ...}}``. Neither repeats what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ValidationError
from starlette.responses import Response

from manyheads.errors import ManyheadsError
from manyheads.server.engine.queue import ClosedError, DeadlineError, QueueFullError
from manyheads.server.http.json_response import json_response

Location = Sequence[str | int]


class RequestError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The status of the response.
        error_type: A word that programs can compare.
        message: One line that says what to do.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, error_type: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message
        self.headers = {} if headers is None else headers


class InvalidBodyError(Exception):
    """A body that breaks a rule: status 422.

    Attributes:
        problems: Where in the body, what is wrong, and a word for it.
    """

    part: ClassVar[str] = "body"

    def __init__(self, problems: Sequence[tuple[Location, str, str]]) -> None:
        super().__init__("; ".join(message for _, message, _ in problems))
        self.problems = problems


class InvalidQueryError(InvalidBodyError):
    """A query of a URL that breaks a rule: status 422."""

    part = "query"


def invalid(location: Location, message: str, kind: str = "value_error") -> InvalidBodyError:
    """Return the error of one place in the body."""
    return InvalidBodyError([(location, message, kind)])


def invalid_fields(error: ValidationError) -> InvalidBodyError:
    """Return pydantic's findings without the values, which may be long, private or no valid JSON."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidBodyError([(one["loc"], one["msg"], one["type"]) for one in found])


def error_response(error: Exception) -> Response | None:
    """Return the response of an error, or ``None`` for a fault of the server."""
    if isinstance(error, InvalidBodyError):
        detail = [{"loc": [error.part, *location], "msg": msg, "type": kind} for location, msg, kind in error.problems]
        return json_response({"detail": detail}, 422)
    if isinstance(error, RequestError):
        return _response(error.status, error.error_type, error.message, error.headers)
    if isinstance(error, QueueFullError):
        headers = {"retry-after": str(error.seconds)}
        return _response(429, "overloaded", f"Too many requests wait; retry in {error.seconds} s", headers)
    if isinstance(error, DeadlineError):
        return _response(504, "timeout", f"No answer in time: {error}")
    if isinstance(error, ClosedError):
        return _response(503, "shutting_down", "The server is shutting down; retry", {"retry-after": "1"})
    if isinstance(error, ManyheadsError):
        return json_response({"detail": [row_problem(error, ["body"])]}, 422)
    return None


def row_problem(error: ManyheadsError, location: Location) -> dict[str, Any]:
    """Return why something in the body cannot be answered."""
    return {"loc": list(location), "msg": str(error), "type": type(error).__name__}


def _response(status: int, error_type: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response({"detail": {"error_type": error_type, "message": message}}, status, headers)
