"""What the commands show to a person.

Must never: show a secret, or a command that does not work when pasted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from core.data_directory import DataDirectory
from core.settings import Rules, Settings
from core.sites import sites
from operations.isolation import Isolation
from signer.api import ActivationState


def moment(at: int) -> str:
    """A POSIX time as a person reads it, to the minute."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def certbot_command(settings: Settings, data: DataDirectory, name: str) -> str:
    """A command that obtains a certificate from this CA as any user, leaving /etc/letsencrypt alone."""
    aside = "~/certbot-tryout"
    return " \\\n      ".join(
        (
            f"REQUESTS_CA_BUNDLE={data.trust_anchor} certbot certonly --standalone",
            f"--http-01-port {settings.validation.http_port} --server {settings.acme.base_url}/directory",
            "--non-interactive --agree-tos --register-unsafely-without-email",
            f"--config-dir {aside} --work-dir {aside} --logs-dir {aside} -d {name}",
        )
    )


def activation_lines(state: ActivationState) -> list[str]:
    """Whether the vault is active, who has come, and what comes next."""
    lines = []
    needed, all_of = state.threshold, state.holders
    if state.locked:
        lines.append(_waiting_for("The vault is LOCKED", "activate it", state.activating, needed, all_of))
    elif state.deactivating:
        lines.append(_waiting_for("The vault is active", "lock it", state.deactivating, needed, all_of))
    else:
        lines.append("The vault is active: its token is open.")
    if state.halted:
        lines.append(f"Issuance is HALTED by {state.halted}")
        if needed:
            lines.append(_waiting_for("It waits", "resume it", state.resuming, needed, all_of))
        else:
            lines.append("`acme-server resume` ends it.")
    return lines


def _waiting_for(what: str, to: str, here: Sequence[str], needed: int, all_of: int) -> str:
    if not here:
        return f"{what}: {needed} of {all_of} people must {to}, within ten minutes of each other."
    missing = needed - len(here)
    return f"{what}: {len(here)} of {needed} are here to {to} ({', '.join(here)}); {missing} more must come."


def _test_sites(settings: Settings) -> list[str]:
    found = sites(settings)
    if not found:
        return []
    statuses = ", ".join(dict.fromkeys(each.status.value for each in found))
    return [f"  test sites    {found[0].url}   ({statuses}; {' and '.join(settings.test_sites.families)})"]


def _status_command(arguments: Sequence[str]) -> str:
    """`acme-server status` of this environment, with the settings that `run` has."""
    options = [shlex.join(arguments[at : at + 2]) for at in range(0, len(arguments), 2)]
    program = shlex.quote(str(Path(sys.executable).with_name("acme-server")))
    return " \\\n      ".join((f"{program} status", *options))


def running_screen(
    settings: Settings, data: DataDirectory, isolation: Isolation, arguments: Sequence[str]
) -> str:
    """The screen after a start; `arguments` are the options of the `run` that it belongs to."""
    walls = "each its own system user" if isolation.on else f"not isolated: {isolation.reason}"
    lines = [
        "",
        "  The CA is running.  Ctrl-C stops it.",
        "",
        f"  directory     {settings.acme.base_url}/directory",
        f"  trust anchor  {data.trust_anchor}",
        f"  repository    {settings.repository.base_url}/   (certificates, CRLs, OCSP, CP/CPS)",
        *_test_sites(settings),
        f"  rules         {settings.ca.rules.value}",
        f"  processes     {walls}",
        f"  logs          {data.log}",
    ]
    # Under public rules a local name cannot be certified; the rehearsal's DNS has example.com.
    name = "localhost" if settings.ca.rules is Rules.PRIVATE else "www.example.com"
    if not settings.deployment.production:
        lines += [
            "",
            "  Get a certificate, in another terminal:",
            "",
            f"    {certbot_command(settings, data, name)}",
        ]
    lines += ["", "  See how it stands (every command needs the settings of `run`):", ""]
    return "\n".join([*lines, f"    {_status_command(arguments)}", ""])
