"""The command line: `acme-server COMMAND`.

Every command takes --config, --data and --set; those that report take --json.  Only commands that work are
listed.  Exit codes: operations/process.py.

Must never: write to the database itself (the app is its only writer), or print a secret.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from core import checks, today
from core.clock import SystemClock
from core.errors import ConfigurationError, TransientError
from operations import (
    activation_commands,
    ceremony_commands,
    eab_commands,
    keys_commands,
    mpic_commands,
)
from operations.command import DATA as _DATA
from operations.command import Config, Data, Json, Set
from operations.command import exit_with as _exit
from operations.command import invocation as _invocation
from operations.command import say as _say
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
application.add_typer(ceremony_commands.application)
application.add_typer(eab_commands.application)
application.add_typer(keys_commands.application)
application.add_typer(mpic_commands.application)


class Reason(StrEnum):
    """The CRLReasons that BR 7.2.2 allows for a subscriber certificate."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"

    @property
    def code(self) -> int:
        """RFC 5280 section 5.3.1."""
        return {
            Reason.UNSPECIFIED: 0,
            Reason.KEY_COMPROMISE: 1,
            Reason.AFFILIATION_CHANGED: 3,
            Reason.SUPERSEDED: 4,
            Reason.CESSATION_OF_OPERATION: 5,
            Reason.PRIVILEGE_WITHDRAWN: 9,
        }[self]


@application.command()
def run(
    config: Config = None,
    data: Data = _DATA,
    set_: Set = None,
    crash_at: Annotated[str, typer.Option(hidden=True, metavar="CHILD:STEP")] = "",
) -> None:
    """Run a CA until Ctrl-C; make one where there is none.

    All its processes are started here, and started again when they die.
    """
    _exit(lambda: run_supervisor(_invocation(config, data, set_), _say, SystemClock(), crash_at))


@application.command()
def perspective(code: str, config: Config = None, data: Data = _DATA, set_: Set = None) -> None:
    """Run one perspective alone (`run` starts those of this machine too)."""
    raise typer.Exit(
        run_process(["perspective", "--code", code, *_invocation(config, data, set_).arguments()])
    )


application.command("perspective-key")(mpic_commands.perspective_key)


@application.command()
def vault(config: Config = None, data: Data = _DATA, set_: Set = None) -> None:
    """Run the vault alone (`run` starts it too)."""
    raise typer.Exit(run_process(["vault", *_invocation(config, data, set_).arguments()]))


@application.command("check-config")
def check_config(config: Config = None, data: Data = _DATA, set_: Set = None, json_: Json = False) -> None:
    """Check the settings and what they need.

    Starts and changes nothing.
    """

    def check() -> int:
        invocation = _invocation(config, data, set_)
        settings = invocation.settings()
        now = SystemClock().now()
        checks.dated(settings, now)
        for sentence in today.coming(settings, now):
            print(f"warning: {sentence}", file=sys.stderr)
        if not settings.mpic.listen:  # a perspective's own host has no token
            check_prerequisites(settings, invocation.directory())
        try:
            check_ports(settings)
        except ConfigurationError as error:
            # What runs now holds its own ports.
            print(f"note: {error}", file=sys.stderr)
        if json_:
            _say(json.dumps(asdict(settings), indent=2))
        else:
            _say(f"the settings are good ({settings.ca.rules.value} rules)")
        return Exit.DONE

    _exit(check)


@application.command("resolver-config")
def resolver_config(config: Config = None, data: Data = _DATA, set_: Set = None) -> None:
    """Print unbound.conf for a resolver that you run yourself.

    With validation.unbound each perspective writes its own, and this is not needed.
    """

    def show() -> int:
        from validation.dns import eyes

        _say(eyes.printed(_invocation(config, data, set_).settings()))
        return Exit.DONE

    _exit(show)


@application.command()
def status(config: Config = None, data: Data = _DATA, set_: Set = None, json_: Json = False) -> None:
    """What runs, and what is not as it should be."""

    def report() -> int:
        from operations.report import gather, screen

        found = gather(_invocation(config, data, set_))
        _say(json.dumps(found, indent=2) if json_ else screen(found))
        return Exit.DONE if found["running"] else Exit.NOT_RUNNING

    _exit(report)


@application.command("verify-audit")
def verify_audit(config: Config = None, data: Data = _DATA, set_: Set = None, json_: Json = False) -> None:
    """Check the audit log's hash chain.

    From its first record to its last; works while the CA runs and while it does not.
    """

    def verify() -> int:
        from core import audit
        from core.database import Reader

        directory = _invocation(config, data, set_).directory()
        if not directory.database.exists():
            raise ConfigurationError(f"--data: {directory.root} holds no CA yet; `run` makes one")
        reader = Reader(directory.database)
        try:
            faults, head = audit.verify(reader), audit.head(reader)
        finally:
            reader.close()
        if json_:
            _say(json.dumps({"records": head.sequence, "head": head.hash.hex(), "faults": faults}))
        else:
            for fault in faults:
                _say(fault)
            whole = "is whole" if not faults else f"is BROKEN: {len(faults)} faults"
            _say(f"the audit log of {head.sequence} records {whole}; its head is {head.hash.hex()}")
        return Exit.REFUSED if faults else Exit.DONE

    _exit(verify)


@application.command()
def revoke(
    serial: Annotated[str, typer.Argument(help="Hexadecimal, with or without colons.")],
    reason: Annotated[Reason, typer.Option(help="BR 7.2.2.")] = Reason.UNSPECIFIED,
    cause: Annotated[str, typer.Option(help="Who asked and why: for the audit log.")] = "by the operator",
    config: Config = None,
    data: Data = _DATA,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Revoke a certificate as its issuer.

    Asks the running CA, and answers when the revocation is durable.
    """

    def ask() -> int:
        from operations import local_api

        try:
            octets = bytes.fromhex(serial.replace(":", ""))
        except ValueError as error:
            raise ConfigurationError(
                f"{serial!r} is no hexadecimal serial number; see `openssl x509 -noout -serial -in cert.pem`"
            ) from error
        directory = _invocation(config, data, set_).directory()
        try:
            done = asyncio.run(local_api.revoke(directory, octets, reason.code, cause))
        except TransientError as error:
            raise TransientError(
                f"no CA answers in {directory.root} ({error}); `acme-server status` says more"
            ) from error
        if json_:
            _say(json.dumps({"serial": octets.hex(), "revoked_at": done.revoked_at, "reason": done.reason}))
        else:
            _say(f"{octets.hex()} is revoked (reason {done.reason}, at {done.revoked_at})")
        return Exit.DONE

    _exit(ask)


@application.command("revoke-issuer")
def revoke_issuer(
    issuer: Annotated[str, typer.Argument(help="The issuing CA's id, as `status` lists it.")],
    cause: Annotated[str, typer.Option(help="Who decided and why: for the audit log.")],
    reason: Annotated[Reason, typer.Option(help="BR 7.2.2; not keyCompromise.")] = Reason.SUPERSEDED,
    config: Config = None,
    data: Data = _DATA,
    set_: Set = None,
    json_: Json = False,
) -> None:
    """Revoke every certificate of an issuing CA.

    Asks the running CA, page by page; run it again after an interruption.
    """

    def ask() -> int:
        from operations import issuer_revocation

        directory = _invocation(config, data, set_).directory()

        def progress(count: int) -> None:
            print(f"{count} revoked ...", file=sys.stderr)

        done = issuer_revocation.revoke_all(directory, issuer, reason.code, cause, progress)
        if json_:
            _say(json.dumps({"issuer": issuer, "revoked": done}))
        else:
            _say(f"{done} certificates of {issuer} are revoked now; the next CRL carries them")
        return Exit.DONE

    _exit(ask)


activation_commands.register(application)


def main() -> None:
    """The entry point `acme-server`."""
    application()


if __name__ == "__main__":
    main()
