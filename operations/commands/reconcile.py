"""The command `acme-server reconcile`; what it does is in operations/desk/reconcile.py."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ConfigurationError, Refused
from operations.commands.command import command, say
from operations.commands.options import Reporting
from operations.process import Exit
from operations.screens import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.data_directory import DataDirectory
    from operations.desk.reconcile import Missing, PutBack

MAX_OCTETS = 100 * 1024 * 1024
"""A CRL of two million entries; more is no CRL of ours."""

PATIENCE = 60
"""Seconds for a mirror's answer."""


def register(application: typer.Typer) -> None:
    """Add the command."""
    command(application)(reconcile)


def reconcile(
    given: Reporting,
    crl: Annotated[
        list[str] | None,
        typer.Option("--crl", metavar="FILE|URL", help="A CRL of ours, from a mirror; as often as needed."),
    ] = None,
    ocsp: Annotated[
        list[Path] | None,
        typer.Option("--ocsp", metavar="FILE", help="A signed OCSP answer of ours, DER; as often as needed."),
    ] = None,
    manifest: Annotated[
        list[str] | None,
        typer.Option(
            "--manifest",
            metavar="FILE|URL",
            help="A manifest.jws of ours that somebody kept; the daily lists that it names lie beside it.",
        ),
    ] = None,
    manifest_key: Annotated[
        str,
        typer.Option(
            "--manifest-key",
            metavar="THUMBPRINT",
            help="Whose signature counts, where our own public manifest is lost.",
        ),
    ] = "",
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate",
            metavar="FILE",
            help="A certificate or precertificate of ours, as a CT log has it: tells the shard of its CRL.",
        ),
    ] = None,
    accept: Annotated[
        str,
        typer.Option("--accept", metavar="REASON", help="Open the CA without what is missing, and why."),
    ] = "",
    restored: Annotated[
        bool, typer.Option("--restored", help="Close the CA: something was restored, whatever it looks like.")
    ] = False,
) -> Exit:
    """After a restore: what the register lacks, what brings it back, and the word that opens the CA again.

    Without options it says what is missing.  Its exit status is 4 while the CA is closed.
    """
    from operations.desk import reconcile as asked

    directory = given.directory()
    if restored and not asked.begin(directory):
        say("no CA runs here: it is closed from its next start on, until `reconcile --accept`")
        return Exit.DONE
    total = asked.PutBack(0, 0)
    for kind, sources in (
        ("manifest", manifest or []),
        ("crl", crl or []),
        ("ocsp", [str(path) for path in ocsp or []]),
        ("certificate", [str(path) for path in certificate or []]),
    ):
        for source in sources:
            for name, put in _bring(directory, kind, source, manifest_key):
                if not given.json:
                    say(f"{name}: {_in_words(put)}")
                total = _added(total, put)
    accepted = asked.accept(directory, accept) if accept else None
    missing = asked.missing(directory)
    if given.json:
        say(
            json.dumps(
                {
                    "put_back": total.revocations,
                    "numbers": total.numbers,
                    "certificates": total.certificates,
                    "accepted": list(accepted.subjects) if accepted else [],
                    "revoked": accepted.revoked if accepted else 0,
                    "missing": [asdict(each) for each in missing],
                },
                indent=2,
            )
        )
        return Exit.REFUSED if missing else Exit.DONE
    if accepted is not None and accepted.subjects:
        say(f"accepted without: {', '.join(accepted.subjects)}; {accepted.revoked} certificates revoked")
    return _screen(missing)


def _bring(directory: DataDirectory, kind: str, source: str, key: str) -> Iterator[tuple[str, PutBack]]:
    """Hand it over, and the lists that a manifest names: issued before revoked, the oldest day first."""
    from operations.desk import reconcile as asked

    put = asked.bring(directory, kind, _fetch(source), key=key)
    yield source, put
    base = source.rpartition("/")[0]
    wanted = list(put.wanted)
    while wanted:
        name = wanted.pop(0)
        where = f"{base}/{name}" if base else name
        try:
            put = asked.bring(directory, "list", _fetch(where), name=name)
        except (ConfigurationError, Refused) as error:  # the other days are wanted all the more
            typer.echo(f"{where}: {error}; nothing was learnt from it", err=True)
            continue
        yield where, put
        wanted = [*put.wanted, *wanted]


def _in_words(put: PutBack) -> str:
    return (
        f"{put.revocations} revocations put back, {put.numbers} CRL numbers counted, "
        f"{put.certificates} certificates entered or completed"
    )


def _added(one: PutBack, other: PutBack) -> PutBack:
    from operations.desk.reconcile import PutBack

    return PutBack(
        one.revocations + other.revocations,
        one.numbers + other.numbers,
        one.certificates + other.certificates,
    )


def _screen(missing: tuple[Missing, ...]) -> Exit:
    if not missing:
        say("the register is reconciled: the CA is open")
        return Exit.DONE
    say("THE CA IS CLOSED: it issues nothing and makes no CRL; revocations are taken.")
    for each in missing:
        say(f"  {each.subject}, found {moment(each.found_at)}")
        say(f"    missing  {each.missing}")
        say(f"    remedy   {each.remedy}")
        if each.revokes:
            say(f"    these    {each.revokes} now; `--accept` revokes them")
    say('  When nothing more is to be had:  acme-server reconcile --accept "WHY"')
    return Exit.REFUSED


def _fetch(source: str) -> bytes:
    """DER of a file or URL; PEM is unpacked.  Raises `ConfigurationError`."""
    try:
        if source.startswith(("http://", "https://")):
            with urllib.request.urlopen(source, timeout=PATIENCE) as answer:
                content: bytes = answer.read(MAX_OCTETS + 1)
        else:
            with open(source, "rb") as file:
                content = file.read(MAX_OCTETS + 1)
    except (OSError, urllib.error.URLError) as error:
        raise ConfigurationError(f"{source} cannot be read: {error}") from error
    if len(content) > MAX_OCTETS:
        raise ConfigurationError(f"{source} is longer than any CRL of ours")
    if content.lstrip().startswith(b"-----BEGIN"):
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        certificate = content.lstrip().startswith(b"-----BEGIN CERTIFICATE-----")
        load = x509.load_pem_x509_certificate if certificate else x509.load_pem_x509_crl
        try:
            return load(content).public_bytes(Encoding.DER)
        except ValueError as error:
            raise ConfigurationError(f"{source} is no CRL and no certificate in PEM: {error}") from error
    return content
