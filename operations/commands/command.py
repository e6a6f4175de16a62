"""What all commands of `acme-server` share: how they are entered, and how they end.

Must never: show a traceback for a refusal, or print a secret.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from core.errors import CaError, ConfigurationError, TransientError
from operations.commands.options import Options
from operations.process import Exit

C = TypeVar("C", bound=Callable[..., int | None])


def group(name: str, help_: str) -> typer.Typer:
    """An empty group of commands, which looks like the others."""
    return typer.Typer(
        name=name, help=help_, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )


def command(application: typer.Typer, name: str | None = None, help_: str | None = None) -> Callable[[C], C]:
    """Enter the decorated function as a command, by its own name and docstring unless others are given.

    The function does the work: it returns an exit code, None for `Exit.DONE`, or raises a `CaError`.
    """

    def enter(function: C) -> C:
        application.command(name, help=help_)(for_typer(function))
        return function

    return enter


def for_typer(function: Callable[..., int | None]) -> Callable[..., None]:
    """`function` as typer takes it: every list of options spread, behind the options of its own."""
    own: list[inspect.Parameter] = []
    lists: dict[str, type[Options]] = {}
    for each in inspect.signature(function, eval_str=True).parameters.values():
        if isinstance(each.annotation, type) and issubclass(each.annotation, Options):
            lists[each.name] = each.annotation
        else:
            own.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters = [*own, *(each for kind in lists.values() for each in kind.parameters())]

    @functools.wraps(function)
    def run(**words: Any) -> None:
        collected = {
            name: kind(**{each.name: words.pop(each.name) for each in kind.parameters()})
            for name, kind in lists.items()
        }
        exit_with(lambda: function(**words, **collected) or Exit.DONE)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def say(line: Any) -> None:
    """One line on standard output, at once."""
    print(line, flush=True)


def exit_with(run: Callable[[], int]) -> None:
    """End with what `run` returns; a refusal is one line on standard error and an exit code, no traceback."""
    try:
        code = run()
    except ConfigurationError as error:
        code = _refused(error, Exit.CONFIGURATION)
    except TransientError as error:
        code = _refused(error, Exit.NOT_RUNNING)
    except CaError as error:
        code = _refused(error, Exit.REFUSED)
    except PermissionError as error:
        code = _refused(
            CaError(f"{error.filename}: {error.strerror}; be root or the CA's user"), Exit.REFUSED
        )
    if code:  # else a group goes on with the command in it
        raise typer.Exit(code)


def _refused(error: Exception, code: Exit) -> Exit:
    print(f"acme-server: {error}", file=sys.stderr)
    return code
