"""operations/commands/command.py, options.py: a list of options is written once, and commands end alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from core.errors import CaError, ConfigurationError, Refused, TransientError
from operations.commands.command import command, group, say
from operations.commands.options import Options, Reporting
from operations.process import Exit

application = group("tried", "For these tests.")


@dataclass(frozen=True)
class Meal(Options):
    dish: Annotated[str, typer.Option(help="What.")] = "soba"
    guests: Annotated[list[str] | None, typer.Argument(help="For whom.")] = None


@command(application)
def eat(meal: Meal, given: Reporting, table: Annotated[int, typer.Option(help="Where.")] = 1) -> Exit:
    """Eat."""
    say((asdict(meal), given.data, given.invocation().overrides, given.json, table))
    return Exit.REFUSED


REFUSALS: dict[str, tuple[CaError, Exit]] = {
    "configuration": (ConfigurationError("set it right"), Exit.CONFIGURATION),
    "away": (TransientError("start it"), Exit.NOT_RUNNING),
    "refused": (Refused("code", "do the other"), Exit.REFUSED),
}


@command(application, "fail")
def fail_(given: Reporting, how: str) -> None:
    """Fail."""
    if how != "not":
        raise REFUSALS[how][0]


def test_a_command_takes_a_list_of_options_and_gets_it_as_one_object() -> None:
    words = ["eat", "Aoi", "Ben", "--table", "3", "--data", "here", "--set", "a.b=1", "--json"]
    done = CliRunner().invoke(application, words)
    given = ({"dish": "soba", "guests": ["Aoi", "Ben"]}, Path("here"), ("a.b=1",), True, 3)
    assert done.output == f"{given}\n"
    assert done.exit_code == Exit.REFUSED


def test_help_shows_a_commands_own_options_before_those_of_the_lists() -> None:
    text = CliRunner().invoke(application, ["eat", "--help"]).output
    assert "Eat." in text
    options = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert options == ["--table", "--dish", "--config", "--data", "--set", "--json", "--help"]


def test_a_command_that_returns_nothing_is_done() -> None:
    assert CliRunner().invoke(application, ["fail", "not"]).exit_code == Exit.DONE


@pytest.mark.parametrize("how", REFUSALS)
def test_a_refusal_is_one_line_and_an_exit_code(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    error, code = REFUSALS[how]
    done = CliRunner().invoke(application, ["fail", how])
    assert (done.exit_code, done.output.strip()) == (code, f"acme-server: {error}")
