"""The commands of `acme-server eab`; what they do is in operations/desk/bindings.py.

Must never: show the secret of a key again, or take one from the command line.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from core.settings import ExternalAccount
from operations.commands.command import command, group, say
from operations.commands.options import Reporting

application = group("eab", "Keys of external accounts, which bind ACME accounts to people whom you know.")

CLIENTS = """
certbot   certbot register --server {directory} --eab-kid {kid} --eab-hmac-key {key}
lego      lego --server {directory} --eab --kid {kid} --hmac {key} ...
acme.sh   acme.sh --register-account --server {directory} --eab-kid {kid} --eab-hmac-key {key}
Caddy     issuer acme {{
              dir {directory}
              eab {kid} {key}
          }}"""


@command(application)
def add(
    given: Reporting,
    label: Annotated[str, typer.Option(help="Whose it is: a customer's name or number.")],
    reusable: Annotated[
        bool, typer.Option("--reusable/--single-use", help="Good for many accounts, or for one.")
    ] = False,
    expires: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
            help="The last day (UTC) on which it makes an account.",
        ),
    ] = None,
) -> None:
    """Make a key and print it, this once.

    Hand key id and HMAC key to its holder by a way that nobody else reads.  What is lost is not shown again:
    withdraw it and make another.
    """
    from operations.desk import bindings

    expires_at = None
    if expires is not None:
        expires_at = int((expires.replace(tzinfo=UTC) + timedelta(days=1)).timestamp())
    made = bindings.add(given.directory(), label, reusable, expires_at)
    if made.asked == ExternalAccount.OFF:
        print(
            'note: acme.external_account is "off", and no key is looked at: set it to "optional" or '
            '"required" and start the CA again',
            file=sys.stderr,
        )
    if given.json:
        told = {"kid": made.kid, "hmac_key": made.key, "directory": made.directory}
        say(json.dumps({**told, "label": label, "reusable": reusable, "expires_at": expires_at}))
        return
    until = "" if expires is None else f", until {expires:%Y-%m-%d}"
    say(f"key id    {made.kid}")
    say(f"HMAC key  {made.key}")
    say(f"\nFor {'many accounts' if reusable else 'one account'}{until}. It is shown this once.")
    say(CLIENTS.format(directory=made.directory, kid=made.kid, key=made.key))


@command(application, "list")
def list_(given: Reporting) -> None:
    """List the keys: whose they are, how often used, and whether they are still good."""
    from operations.desk import bindings

    found = bindings.list_all(given.directory())
    if given.json:
        say(json.dumps([_as_dict(each) for each in found], indent=2))
        return
    if not found:
        say("there is no key; `acme-server eab add --label WHO` makes one")
    for each in found:
        key = each.key
        kind = "reusable" if key.reusable else "single-use"
        until = "" if key.expires_at is None else f", until {_day(key.expires_at - 1)}"
        say(
            f"{key.kid}  {each.state:9}  {kind}, {key.uses} made, {each.accounts} valid, "
            f"of {_day(key.created_at)}{until}  {key.label}"
        )


@command(application)
def revoke(
    given: Reporting,
    kid: Annotated[str, typer.Argument(help="The key id, as `list` shows it.")],
    deactivate_accounts: Annotated[
        bool, typer.Option("--deactivate-accounts", help="Also end the accounts that were made with it.")
    ] = False,
) -> None:
    """Withdraw a key: it makes no account from now on.

    Accounts that it made go on, unless you end them; certificates are not revoked by this.  Run it again
    after an interruption.
    """
    from operations.desk import bindings

    def progress(ended: int, left: int) -> None:
        print(f"{ended} accounts ended, {left} left ...", file=sys.stderr)

    directory = given.directory()
    newly, ended = bindings.withdraw(directory, kid, deactivate_accounts, progress)
    if given.json:
        say(json.dumps({"kid": kid, "withdrawn_now": newly, "accounts_ended": ended}))
    else:
        what = "is withdrawn" if newly else "was withdrawn before"
        say(f"{kid} {what}" + (f"; {ended} accounts ended" if deactivate_accounts else ""))


def _as_dict(listed: Any) -> dict[str, Any]:
    key = asdict(listed.key)
    del key["secret"]
    return {**key, "state": listed.state, "accounts": listed.accounts}


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
