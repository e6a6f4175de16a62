"""Lists of options that several commands share, each written once.

A subclass of `Options` is such a list: a field is an option, with its help.  A command with a parameter of
that class takes them all, and gets them as one object (operations/commands/command.py).

Must never: hold what one command alone takes.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from core.data_directory import DataDirectory
from core.settings import Settings
from operations.supervisor import Invocation

Config = Annotated[
    Path | None, typer.Option("--config", help="The settings; ./config.toml when there is one.")
]
# readable=False: an isolated CA's directory cannot be listed, and the refusal is ours to word.
Data = Annotated[Path, typer.Option("--data", readable=False, help="The CA's data directory.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="For automation; else it is asked.")
]


@dataclass(frozen=True)
class Options:
    """A list of options.  Every field has a default and says by `Annotated` how it is typed."""

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """The fields as parameters of a command."""
        hints = get_type_hints(cls, include_extras=True)
        return [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
            )
            for each in fields(cls)
        ]


@dataclass(frozen=True)
class Given(Options):
    """Which CA: what every command takes."""

    config: Config = None
    data: Data = Path("data")
    overrides: Set = None

    def invocation(self) -> Invocation:
        """The same for the processes of the CA."""
        config = self.config
        if config is None and Path("config.toml").is_file():
            config = Path("config.toml")
        return Invocation(config, self.data, tuple(self.overrides or ()))

    def settings(self) -> Settings:
        """The settings.  Raises `ConfigurationError`."""
        return self.invocation().settings()

    def directory(self) -> DataDirectory:
        """The data directory, which may not be there yet."""
        return self.invocation().directory()


@dataclass(frozen=True)
class Reporting(Given):
    """And `--json`: what every command takes that reports."""

    json: Json = False
