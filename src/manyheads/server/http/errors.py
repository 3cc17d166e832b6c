"""Errors as responses: the same shapes on every route.

A body that is not valid: 422 with ``{"detail": [{"loc": ["body", ...], "msg": ..., "type": ...}]}``. Every other error:
``{"detail": {"error_type": ..., "message": ...}}``. Neither repeats what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from manyheads.errors import ManyheadsError
from manyheads.server.engine.job import DeadlineError
from manyheads.server.engine.queue import ClosedError, QueueFullError
from manyheads.server.http.json_response import json_response

Location = Sequence[str | int]
# A list of a million problems helps nobody and takes seconds to write.
_MOST_PROBLEMS = 32
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
# A text that cannot be answered was predicted alone in the end, so its message counts from there.
_ALONE = "The list of texts, row 1: "


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
    if error.error_count() > _MOST_PROBLEMS:
        return invalid([], f"has {error.error_count():,} problems; compare it with /openapi.json", "too_many_problems")
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidBodyError([([_named(part) for part in one["loc"]], one["msg"], one["type"]) for one in found])


def unanswered(errors: Sequence[ManyheadsError], locations: Sequence[Location]) -> InvalidBodyError:
    """Return the error of a body in which nothing can be answered.

    Args:
        errors: Why not.
        locations: Where in the body each one is.
    """
    return InvalidBodyError(
        [
            (place, str(error).removeprefix(_ALONE), type(error).__name__)
            for error, place in zip(errors, locations, strict=True)
        ]
    )


def _named(part: str | int) -> str | int:
    """Return a part of a place; a name that no field could have is a client's text, which is not repeated."""
    return part if isinstance(part, int) or _FIELD_NAME.fullmatch(part) else "..."


def error_type(error: Exception) -> str:
    """Return the word for an error that the log and the metrics show."""
    if isinstance(error, RequestError):
        return error.error_type
    words: dict[type[Exception], str] = {
        InvalidBodyError: "invalid_body",
        InvalidQueryError: "invalid_query",
        QueueFullError: "overloaded",
        DeadlineError: "timeout",
        ClosedError: "shutting_down",
    }
    if isinstance(error, HTTPException):
        return HTTPStatus(error.status_code).name.lower()
    if type(error) in words:
        return words[type(error)]
    return type(error).__name__ if isinstance(error, ManyheadsError) else "internal_error"


def error_response(error: Exception) -> Response | None:
    """Return the response of an error, or ``None`` for a fault of the server."""
    if isinstance(error, InvalidBodyError):
        detail = [{"loc": [error.part, *location], "msg": msg, "type": kind} for location, msg, kind in error.problems]
        return json_response({"detail": detail}, 422)
    if isinstance(error, RequestError):
        return _response(error.status, error.error_type, error.message, error.headers)
    if isinstance(error, QueueFullError):
        headers = {"retry-after": str(error.seconds)}
        return _response(429, error_type(error), f"Too many requests wait; retry in {error.seconds} s", headers)
    if isinstance(error, DeadlineError):
        return _response(504, error_type(error), f"No answer in time: {error}")
    if isinstance(error, ClosedError):
        return _response(503, error_type(error), "The server is shutting down; retry", {"retry-after": "1"})
    if isinstance(error, HTTPException):
        status = HTTPStatus(error.status_code)
        return _response(status, error_type(error), status.phrase, error.headers)
    if isinstance(error, ManyheadsError):
        return json_response({"detail": [row_problem(error, ["body"])]}, 422)
    return None


async def answer_http_error(_: Request, error: Exception) -> Response:
    """Return the response of an error that the router raises: no such path, or another method."""
    response = error_response(error)
    assert response is not None
    return response


def row_problem(error: ManyheadsError, location: Location) -> dict[str, Any]:
    """Return why something in the body cannot be answered; ``location`` says where, the message need not."""
    return {"loc": list(location), "msg": str(error).removeprefix(_ALONE), "type": type(error).__name__}


def _response(status: int, error_type: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return json_response({"detail": {"error_type": error_type, "message": message}}, status, headers)
