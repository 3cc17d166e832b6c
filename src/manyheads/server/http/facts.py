"""What is known about a request beside its response: for the log and the metrics."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

_KEY = "manyheads_facts"
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


@dataclass(eq=False)
class RequestFacts:
    """What is known about a request. Routes add to it; the log and the metrics read it.

    Attributes:
        request_id: The client's own id, or a new one.
        status: The status of the response; 499 if the client left before it.
        error_type: A word for the error, as in the response.
        rows: Number of texts that were answered or have an error of their own.
        failed_rows: Number of texts that have an error of their own.
        fingerprint: The model that answered.
    """

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: int | None = None
    error_type: str | None = None
    rows: int = 0
    failed_rows: int = 0
    fingerprint: str | None = None

    def answered(self, fingerprint: str, rows: int, failed_rows: int = 0) -> None:
        """Note which model answered, and how many texts."""
        self.fingerprint, self.rows, self.failed_rows = fingerprint, rows, failed_rows

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that a response has because of them."""
        headers = [(b"x-request-id", self.request_id.encode())]
        if self.fingerprint is not None:
            headers.append((b"x-manyheads-fingerprint", self.fingerprint.encode()))
        return headers


def facts_of(request: Request) -> RequestFacts:
    """Return the facts of a request, to add to them."""
    return facts_in(request.scope)


def facts_in(scope: Scope) -> RequestFacts:
    """Return the facts of the request of an ASGI scope; new ones if there are none yet."""
    facts: RequestFacts = scope.setdefault("state", {}).setdefault(_KEY, RequestFacts())
    return facts


def begin_facts(scope: Scope) -> RequestFacts:
    """Return new facts; the request's id is the header ``x-request-id`` if it has one that is short and plain."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    facts = RequestFacts(given) if _ID.fullmatch(given) else RequestFacts()
    scope.setdefault("state", {})[_KEY] = facts
    return facts
