"""Errors of the hub as errors of a repository, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from manyheads.errors import HubError, ManyheadsError, one_line

_LOG_IN = "log in with `hf auth login`, or pass token="
# HTTP status -> what it means for a push, and the next step.
_MEANINGS = {
    401: f"the token is not valid; {_LOG_IN}",
    403: "this token may not write to it; use one with write access, or choose another repository",
    404: f"no such repository or revision for this token; check the name, or {_LOG_IN}",
    409: "another commit came first; push again",
    412: "another commit came first; push again",
    429: "too many requests; push again later",
}


def check_token(repo: str, token: str | bool | None) -> None:
    """Check that there is a token to push with.

    Raises:
        HubError: neither a given nor a saved token.
    """
    from huggingface_hub import get_token

    if token is False or not (token if isinstance(token, str) else get_token()):
        raise HubError(f"{repo}: pushing needs an access token with write permission; {_LOG_IN}")


@contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Raise errors of ``huggingface_hub`` as errors of this repository.

    Raises:
        HubError: instead of them.
    """
    from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

    try:
        yield
    except ManyheadsError:
        raise
    except HFValidationError as error:
        raise HubError(f"{repo}: is not a hub id: {one_line(error)}; write owner/name") from None
    except OfflineModeIsEnabled:
        raise HubError(f"{repo}: cannot be pushed while HF_HUB_OFFLINE is set; unset it") from None
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise HubError(f"{repo}: {_meaning(error)}") from error


def _meaning(error: BaseException) -> str:
    from huggingface_hub.errors import HTTPError

    # Uploads of large files fail in threads, as the cause of a RuntimeError.
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if status in _MEANINGS:
        return f"{_MEANINGS[status]} ({one_line(cause)})"
    if status is not None:
        return f"the hub answered with status {status}: {one_line(cause)}; push again later"
    if isinstance(cause, HTTPError):
        return f"the hub cannot be reached: {one_line(cause)}; check the network and push again"
    return f"the push failed: {one_line(cause)}; correct this, and push again"
