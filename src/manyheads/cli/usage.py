"""Usage errors on one line, with the nearest option or command."""

from __future__ import annotations

from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from manyheads.errors import did_you_mean, listed

# click's base class; typer exports only its subclasses.
ClickError: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


class Group(TyperGroup):
    """A group whose error for an unknown command names the nearest one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name.

        Raises:
            UsageError: no such command.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            guess = did_you_mean(name, self.commands).rstrip(".")
            ctx.fail(f"no such command {name!r}{guess or f'; use one of {listed(self.commands)}'}")
        return super().resolve_command(ctx, args)


def fail(error: Any) -> NoReturn:
    """Print a usage error and exit with its status."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.ctx.get_help())
        raise SystemExit(error.exit_code)
    typer.echo(f"manyheads: {_message(error)}", err=True)
    raise SystemExit(error.exit_code)


def _message(error: Any) -> str:
    context = getattr(error, "ctx", None)
    if context is None:
        return str(error.format_message())
    message = _unknown_option(error) or error.format_message().rstrip(".")
    see = " See" if message.endswith("?") else "; see"
    return f"{message[:1].lower()}{message[1:]}{see} '{context.command_path} --help'"


def _unknown_option(error: Any) -> str:
    if type(error).__name__ != "NoSuchOption":
        return ""
    known = [name for parameter in error.ctx.command.get_params(error.ctx) for name in parameter.opts]
    guess = did_you_mean(error.option_name, [name for name in known if name.startswith("--")])
    return f"no such option {error.option_name!r}{guess.rstrip('.')}"
