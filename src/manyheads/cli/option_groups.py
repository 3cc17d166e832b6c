"""Commands whose options are dataclasses, one for each panel of ``--help``."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from typer.core import TyperCommand
from typer.models import OptionInfo

LAST_PANEL = "Output"


class OptionGroup:
    """Options of a command; subclasses are frozen dataclasses with a typer option in the annotation of each field."""

    panel: ClassVar[str] = LAST_PANEL


class Command(TyperCommand):
    """A command that lists ``--help`` in the last panel, where other options are not left without one."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option ``--help``."""
        option: Any = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel = LAST_PANEL
        return option


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a function that typer can read: one keyword for each field of the groups that ``command`` takes.

    Args:
        command: Each of its parameters is an ``OptionGroup``.
    """
    groups: dict[str, type[Any]] = get_type_hints(command)
    groups.pop("return", None)

    def call(**values: Any) -> None:
        command(
            **{
                name: group(**{item.name: values[item.name] for item in fields(group)})
                for name, group in groups.items()
            }
        )

    parameters = [parameter for group in groups.values() for parameter in _parameters(group)]
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def given(*groups: OptionGroup) -> dict[str, Any]:
    """Return the options of these groups that have a value: field name -> value."""
    values = {item.name: getattr(group, item.name) for group in groups for item in fields(group)}  # type: ignore[arg-type]
    return {name: value for name, value in values.items() if value is not None and value != []}


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints: Mapping[str, Any] = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=_in_panel(hints[item.name], group.panel),
        )
        for item in fields(group)
    ]


def _in_panel(hint: Any, panel: str) -> Any:
    assert get_origin(hint) is Annotated
    kind, option = get_args(hint)
    option = copy.copy(option)
    # Arguments and options cannot share a panel.
    if isinstance(option, OptionInfo):
        option.rich_help_panel = panel
    if kind in (bool, bool | None):
        option.metavar = ""
    return Annotated[kind, option]
