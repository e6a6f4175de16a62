"""The command line: `acme-server COMMAND`.

Every command takes --config, --data and --set; those that report take --json.  Only commands that work are
listed.  Exit codes: operations/process.py.

Must never: write to the database itself (the app is its only writer), or print a secret.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from core import checks, today
from core.clock import SystemClock
from core.errors import ConfigurationError, TransientError
from core.settings import CtMode
from operations import prerequisites
from operations.commands import (
    activation,
    ceremony,
    documents,
    eab,
    holds,
    incident,
    issuers,
    keys,
    limits,
    mpic,
    reconcile,
    reports,
    repository,
    revoke,
    watch,
)
from operations.commands.command import command, say
from operations.commands.options import Given, Reporting
from operations.process import Exit
from operations.process import main as run_process
from operations.supervisor import check_ports, check_prerequisites
from operations.supervisor import run as run_supervisor

EXIT_CODES = "  ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in Exit)

application = typer.Typer(
    name="acme-server",
    help="A certificate authority: ACME in front, an HSM behind, evidence in between.",
    epilog=f"Exit codes: {EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
application.add_typer(ceremony.application)
application.add_typer(documents.application)
application.add_typer(eab.application)
application.add_typer(holds.application)
application.add_typer(issuers.application)
application.add_typer(keys.application)
application.add_typer(limits.application)
application.add_typer(mpic.application)
application.add_typer(reports.application)
application.add_typer(repository.application)
application.add_typer(incident.application)


@command(application)
def run(given: Given, crash_at: Annotated[str, typer.Option(hidden=True, metavar="CHILD:STEP")] = "") -> int:
    """Run a CA until Ctrl-C; make one where there is none.

    All its processes are started here, and started again when they die.
    """
    return run_supervisor(given.invocation(), say, SystemClock(), crash_at)


@command(application)
def perspective(given: Given, code: str) -> int:
    """Run one perspective alone (`run` starts those of this machine too)."""
    return run_process(["perspective", "--code", code, *given.invocation().arguments()])


command(application, "perspective-key")(mpic.perspective_key)


@command(application)
def vault(given: Given) -> int:
    """Run the vault alone (`run` starts it too)."""
    return run_process(["vault", *given.invocation().arguments()])


@command(application, "check-config")
def check_config(given: Reporting) -> None:
    """Check the settings and what they need.

    Starts and changes nothing.
    """
    invocation = given.invocation()
    settings = invocation.settings()
    now = SystemClock().now()
    checks.dated(settings, now)
    for sentence in today.coming(settings, now):
        print(f"warning: {sentence}", file=sys.stderr)
    if not settings.mpic.listen:  # a perspective's own host has no token
        directory = invocation.directory()
        check_prerequisites(settings, directory)
        try:
            warnings = prerequisites.made(settings, directory, SystemClock())
        except (PermissionError, TransientError) as error:
            print(f"note: not compared with the CA in {directory.root} ({error}): be root", file=sys.stderr)
        else:
            for sentence in warnings:
                print(f"warning: {sentence}", file=sys.stderr)
    if settings.ct.mode is CtMode.ON:
        from signer.ct import log_list

        log_list.load(settings.ct)  # without it a CA runs and answers, and issues nothing
    if settings.redis.url:
        from core.ephemeral.redis.standing import examine

        examine(settings.redis, invocation.directory().nonces, SystemClock())
    try:
        check_ports(settings)
    except ConfigurationError as error:
        # What runs now holds its own ports.
        print(f"note: {error}", file=sys.stderr)
    if given.json:
        say(json.dumps(asdict(settings), indent=2))
    else:
        say(f"the settings are good ({settings.ca.rules.value} rules)")


@command(application, "resolver-config")
def resolver_config(given: Given) -> None:
    """Print unbound.conf for a resolver that you run yourself.

    With validation.unbound each perspective writes its own, and this is not needed.
    """
    from validation.dns import eyes

    say(eyes.printed(given.settings()))


@command(application)
def status(given: Reporting) -> int:
    """What runs, and what is not as it should be."""
    from operations.report import gather, screen

    found = gather(given.invocation())
    say(json.dumps(found, indent=2) if given.json else screen(found))
    return Exit.DONE if found["running"] else Exit.NOT_RUNNING


@command(application, "verify-audit")
def verify_audit(given: Reporting) -> int:
    """Check the audit log's hash chain.

    From its first record to its last; works while the CA runs and while it does not.
    """
    from core import audit
    from core.database import Reader

    directory = given.directory()
    if not directory.database.exists():
        raise ConfigurationError(f"--data: {directory.root} holds no CA yet; `run` makes one")
    reader = Reader(directory.database)
    try:
        faults, head = audit.verify(reader), audit.head(reader)
    finally:
        reader.close()
    if given.json:
        say(json.dumps({"records": head.sequence, "head": head.hash.hex(), "faults": faults}))
    else:
        for fault in faults:
            say(fault)
        whole = "is whole" if not faults else f"is BROKEN: {len(faults)} faults"
        say(f"the audit log of {head.sequence} records {whole}; its head is {head.hash.hex()}")
    return Exit.REFUSED if faults else Exit.DONE


revoke.register(application)
activation.register(application)
reconcile.register(application)
watch.register(application)


def main() -> None:
    """The entry point `acme-server`."""
    application()


if __name__ == "__main__":
    main()
