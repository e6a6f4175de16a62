"""`acme-server watch`: look at a CA from outside, once or for ever.

Needs no data directory and no rights: only URLs and a trust anchor that came another way.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.clock import SystemClock
from core.errors import ConfigurationError
from core.randomness import SystemRandomness
from operations.commands.command import command, say
from operations.commands.options import Json
from operations.process import Exit

HELP = """Look at a CA from outside, as a stranger would: OCSP, CRLs, issuers, documents, test sites, ACME.

Exit status: 0 all is well, 1 warnings, 2 failures, 3 the options cannot be used (as Nagios has them).
"""


class Method(StrEnum):
    """How the canary's name is validated."""

    HTTP = "http-01"
    TLS_ALPN = "tls-alpn-01"
    DNS = "dns-01"


def watch(
    repository: Annotated[str, typer.Option(help="The repository's URL, like http://pki.ca.example.")],
    anchor: Annotated[str, typer.Option(help="The trust anchor, got another way: a file, or sha256:HEX.")],
    manifest_key: Annotated[str, typer.Option(help="The thumbprint of its manifest key, if you know.")] = "",
    directory: Annotated[str, typer.Option(help="The ACME directory; what the repository names.")] = "",
    state: Annotated[
        Path | None, typer.Option(help="A directory for what is remembered between looks.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=1000, help="Serials of each issuer to ask OCSP of.")
    ] = 20,
    resolve: Annotated[
        list[str] | None, typer.Option(metavar="HOST=ADDRESS", help="Where a host is, whatever DNS says.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait for one answer.")] = 10,
    every: Annotated[int, typer.Option(min=0, help="Go on, a look each so many seconds.")] = 0,
    metrics: Annotated[str, typer.Option(metavar="HOST:PORT", help="Serve /metrics and a page.")] = "",
    textfile: Annotated[Path | None, typer.Option(help="Metrics for node_exporter.")] = None,
    page: Annotated[Path | None, typer.Option(help="The page, as a file.")] = None,
    canary_name: Annotated[
        str, typer.Option(help="A name of yours: have it certified, every --canary-every.")
    ] = "",
    canary_method: Annotated[Method, typer.Option(help="How it is validated.")] = Method.HTTP,
    canary_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where challenges are answered.")
    ] = "",
    canary_hook: Annotated[str, typer.Option(help="For dns-01: PROGRAM set|clear NAME VALUE.")] = "",
    canary_scts: Annotated[int, typer.Option(min=0, max=10, help="SCTs that it must have.")] = 0,
    canary_every: Annotated[int, typer.Option(min=0, help="Seconds from one to the next.")] = 86400,
    canary_seen: Annotated[int, typer.Option(min=1, help="Seconds until its revocation is public.")] = 120,
    canary_keep: Annotated[bool, typer.Option("--canary-keep", help="Do not revoke it.")] = False,
    canary_binding: Annotated[str, typer.Option(help="The file of `eab add --json`, if asked for.")] = "",
    json_: Json = False,
) -> int:
    """See `HELP`."""
    from operations.watch import show
    from operations.watch.canary import Canary
    from operations.watch.finding import worst
    from operations.watch.look import Wanted
    from operations.watch.scope import Anchor
    from operations.watch.session import Outputs, Session

    logging.basicConfig(stream=sys.stderr, level="WARNING")
    canary = None
    if canary_name:
        if state is None:
            raise ConfigurationError("--canary-name needs --state: the canary's account is kept there")
        canary = Canary(
            *(canary_name, canary_method.value, canary_listen, canary_hook, state, canary_scts),
            *(not canary_keep, canary_every, canary_seen, canary_binding),
        )
        canary.check()
    addresses = dict(_pair(each) for each in resolve or ())
    wanted = Wanted(
        _url(repository), Anchor.read(anchor), directory, samples, addresses, timeout, manifest_key
    )
    session = Session(
        wanted, canary, Outputs(state, page, textfile, metrics), SystemClock(), SystemRandomness()
    )
    if every:
        asyncio.run(_until_stopped(session.for_ever(every, say)))
        return Exit.DONE
    findings = asyncio.run(session.once())
    say(show.as_json(findings, SystemClock().now()) if json_ else show.table(findings))
    return worst(findings).rank


async def _until_stopped(looking: object) -> None:
    """Until SIGINT or SIGTERM."""
    assert asyncio.iscoroutine(looking)
    task = asyncio.ensure_future(looking)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ConfigurationError(f"--repository {text}: write http://host, the repository.base_url of the CA")
    return text.rstrip("/")


def _pair(text: str) -> tuple[str, str]:
    from ipaddress import ip_address

    host, _, address = text.partition("=")
    try:
        return host.lower(), str(ip_address(address))
    except ValueError as error:
        raise ConfigurationError(
            f"--resolve {text}: write HOST=ADDRESS, like pki.ca.example=192.0.2.7"
        ) from error


def register(application: typer.Typer) -> None:
    """Add the command."""
    command(application, help_=HELP)(watch)
