"""The commands of `acme-server ceremony`; what they do is in operations/ceremonies.py.

Must never: print a secret, or take one from the command line or the environment.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from operations.commands.command import command, for_typer, group, say
from operations.commands.options import Given, Json, PassphraseFile
from operations.passphrases import passphrase_of

application = group("ceremony", "The CA's keys: made and changed by several people, with a transcript.")
application.info.no_args_is_help = False
application.info.invoke_without_command = True

Script = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A script (TOML).")]
Identities = Annotated[
    list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Of each person present.")
]
PassphraseFiles = Annotated[
    list[Path] | None,
    typer.Option(exists=True, dir_okay=False, help="One for each --identity; else they are asked."),
]


@application.callback()
@for_typer
def ceremony(given: Given, context: typer.Context) -> None:
    """The CA's keys: made and changed by several people, with a transcript.

    Without a command: what a ceremony is, and what comes next here.
    """
    if context.invoked_subcommand is not None:
        return

    from operations import ceremonies

    for line in ceremonies.first_screen(given.settings(), given.directory()):
        say(line)
    say("Commands: identity, example, show, run, abandon, verify; --help shows more.")


@command(application)
def identity(
    name: Annotated[str, typer.Argument(help="As it shall stand in the transcripts.")],
    role: Annotated[str, typer.Option(help="The trusted role.")] = "key custodian",
    directory: Annotated[Path, typer.Option(file_okay=False, exists=True)] = Path(),
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a person's keys, on a machine of their own.

    NAME.identity stays with the person, encrypted; NAME.person.json is for everybody.
    """
    from core.people import PUBLIC_SUFFIX, Identity

    passphrase = passphrase_of(passphrase_file, f"{name} (five words or more)", new=True)
    randomness = SystemRandomness()
    made = Identity.make(name, role, randomness)
    public = made.person.save(directory)
    private = public.with_name(public.name.removesuffix(PUBLIC_SUFFIX) + ".identity")
    try:
        made.save(private, passphrase, randomness)
    except ConfigurationError:
        public.unlink()
        raise
    say(f"{public}: for the ceremony's script and for everybody ({made.person.id})")
    say(f"{private}: stays with {name}, and so does its passphrase")


@command(application)
def example() -> None:
    """Print a script to start from: an offline root, RSA and EC issuing CAs, 3 of 5 people."""

    import signer.vault.ceremony

    say(Path(signer.vault.ceremony.__path__[0], "example.toml").read_text(encoding="utf-8").rstrip())


@command(application)
def show(given: Given, script: Script) -> None:
    """Say in words what a script will make, and by whom.

    Changes nothing.
    """
    from operations import ceremonies
    from signer.vault.ceremony.script import load

    found = load(script)
    steps = found.words(ceremonies.sealed(given.settings(), given.directory()))
    say(f"{found.title} ({given.settings().ca.rules.value} rules)")
    say(f"script SHA-256 {found.sha256.hex()}")
    say(f"present: at least {found.policy.present} of {found.policy.of}")
    for person in found.people:
        say(f"  {person.id}  {person.name}, {person.role}")
    for number, words in enumerate(steps, 1):
        say(f"{number:3}  {words}")


@command(application)
def run(
    given: Given,
    script: Script,
    identity: Identities = None,
    passphrase_file: PassphraseFiles = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="On throwaway tokens; keeps nothing.")] = False,
    crash_at: Annotated[str, typer.Option(hidden=True, metavar="STEP")] = "",
) -> None:
    """Hold the ceremony of a script, or go on with one that was interrupted.

    The CA may run meanwhile, unless a step forbids it.  Those present sign the script at the begin and the
    transcript at the end.
    """
    from operations import ceremonies, process

    if crash_at:
        process.crash_at(crash_at)
    settings, directory = given.settings(), given.directory()
    logging.basicConfig(level=logging.WARNING, format=process.LOG_FORMAT)
    clock, randomness = SystemClock(), SystemRandomness()
    if dry_run:
        ceremonies.rehearse(settings, directory, script, clock, randomness, say)
        return
    present = ceremonies.identities(identity or [], passphrase_file or [])
    held = ceremonies.hold(
        settings, directory, script, present, clock, randomness, lambda words: say(f"  {words}")
    )
    say(f"hierarchy {held.hierarchy.sequence} is in force.")
    say(f"transcript: {held.transcript}")
    say("Let everybody take a copy of it along; `acme-server ceremony verify` judges it anywhere.")


@command(application)
def abandon(
    given: Given,
    reason: Annotated[str, typer.Option(help="For the transcript.")],
    identity: Identities = None,
    passphrase_file: PassphraseFiles = None,
) -> None:
    """Give up a ceremony that was interrupted.

    As many people as it needs must agree.  Its keys are destroyed; what it may have signed, the next root CRL
    lists.
    """
    from operations import ceremonies

    present = ceremonies.identities(identity or [], passphrase_file or [])
    transcript = ceremonies.abandon(
        given.settings(), given.directory(), present, reason, SystemClock(), SystemRandomness()
    )
    say(f"given up: {transcript}")


@command(application)
def verify(
    transcript: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], json_: Json = False
) -> None:
    """Judge a transcript: its chain, its people, all that was signed.

    Needs no key and no data directory.
    """
    from signer.vault.ceremony.verify import verify

    report = verify(transcript.read_bytes())
    if json_:
        say(json.dumps(asdict(report)))
    else:
        for line in report.words():
            say(line)
        say("The transcript is whole.  Compare the root's fingerprint and the people with what you know.")
