"""Read the query of a URL."""

from __future__ import annotations

from typing import TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from manyheads.server.http.errors import InvalidQueryError, invalid_fields

Query = TypeVar("Query", bound=BaseModel)


def read_query(request: Request, query: type[Query]) -> Query:
    """Read a query and check it; a field whose type has no list takes the last of several values.

    Raises:
        InvalidQueryError: not valid, or an unknown name.
    """
    given = request.query_params
    fields = {name: given.getlist(name) if _is_list(query, name) else given[name] for name in given}
    try:
        return query.model_validate(fields)
    except ValidationError as error:
        raise InvalidQueryError(invalid_fields(error).problems) from None


def _is_list(query: type[BaseModel], name: str) -> bool:
    field = query.model_fields.get(name)
    return field is not None and any(get_origin(form) is list for form in get_args(field.annotation))
