"""What all commands of `acme-server` share: their common options, and how they end.

Must never: show a traceback for a refusal, or print a secret.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import CaError, ConfigurationError, TransientError
from operations.process import Exit
from operations.supervisor import Invocation

Config = Annotated[
    Path | None, typer.Option("--config", help="The settings; ./config.toml when there is one.")
]
# readable=False: an isolated CA's directory cannot be listed, and the refusal is ours to word.
Data = Annotated[Path, typer.Option("--data", readable=False, help="The CA's data directory.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
DATA = Path("data")


def group(name: str, help_: str) -> typer.Typer:
    """An empty group of commands, which looks like the others."""
    return typer.Typer(
        name=name, help=help_, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )


def invocation(config: Path | None, data: Path, overrides: list[str] | None) -> Invocation:
    """What the common options say."""
    if config is None and Path("config.toml").is_file():
        config = Path("config.toml")
    return Invocation(config, data, tuple(overrides or ()))


def say(line: Any) -> None:
    """One line on standard output, at once."""
    print(line, flush=True)


def passphrase(file: Path | None, whose: str, *, new: bool = False) -> str:
    """The passphrase of `whose`: from `file`, the terminal (twice when it is `new`), or a line of a pipe.

    Raises `ConfigurationError` when there is none to be had.
    """
    if file is not None:
        try:
            return file.read_text().rstrip("\n")
        except OSError as error:
            raise ConfigurationError(f"--passphrase-file: cannot read {file} ({error.strerror})") from error
    if not sys.stdin.isatty():
        line = sys.stdin.readline().rstrip("\n")
        if not line:
            raise ConfigurationError(
                f"there is no terminal to ask on for the passphrase of {whose}: name --passphrase-file"
            )
        return line
    asked = getpass.getpass(f"passphrase of {whose}: ")
    if new and getpass.getpass("again: ") != asked:
        raise ConfigurationError("the two passphrases differ: once more")
    return asked


def exit_with(command: Callable[[], int]) -> None:
    """Run `command`; a refusal is one line on standard error and an exit code, never a traceback."""
    try:
        code = command()
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
    raise typer.Exit(code)


def _refused(error: Exception, code: Exit) -> Exit:
    print(f"acme-server: {error}", file=sys.stderr)
    return code
