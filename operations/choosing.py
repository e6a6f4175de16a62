"""The options by which commands choose certificates, and the selection that they make.

Must never: take a missing condition for all certificates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ConfigurationError
from core.methods import METHODS
from operations import words

if TYPE_CHECKING:
    from acme_server.store.selection import Selection

Serials = Annotated[
    list[str] | None, typer.Argument(metavar="[SERIAL]...", help="Hexadecimal, with or without colons.")
]
SerialsFile = Annotated[
    str,
    typer.Option("--serials", metavar="FILE", help="Serial numbers, one a line; - reads them from stdin."),
]
Account = Annotated[str, typer.Option(help="All certificates of this account (its URL).")]
Binding = Annotated[str, typer.Option(help="Of all accounts of this external account key (kid).")]
Key = Annotated[
    str, typer.Option(help="With this key: a file, or SHA-256 of its SubjectPublicKeyInfo in hex.")
]
IssuerId = Annotated[str, typer.Option("--issuer", help="Of this issuing CA, by its id in `status`.")]
ProfileName = Annotated[str, typer.Option("--profile", help="Of this profile.")]
MethodName = Annotated[
    str, typer.Option("--method", help="With a name validated by this method, like http-01.")
]
Issued = Annotated[
    str, typer.Option(metavar="FROM..UNTIL", help="Issued in this time; either end may be left out.")
]
Validated = Annotated[
    str, typer.Option(metavar="FROM..UNTIL", help="With a name validated in this time (by --method).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and do nothing.")]


def selection(
    account: str,
    binding: str,
    key: str,
    issuer: str,
    profile: str,
    method: str,
    issued: str,
    validated: str,
) -> Selection:
    """What these options choose together.  Raises `ConfigurationError`."""
    from acme_server.store.selection import Selection

    if method and method not in METHODS:
        raise ConfigurationError(f"--method: {method!r} is none of {', '.join(METHODS)}")
    issued_from, issued_until = words.period("--issued", issued)
    validated_from, validated_until = words.period("--validated", validated)
    return Selection(
        issuer_id=issuer,
        account_url=account,
        binding_kid=binding,
        spki_sha256=words.spki(key),
        profile=profile,
        method=method,
        issued_from=issued_from,
        issued_until=issued_until,
        validated_from=validated_from,
        validated_until=validated_until,
    )


def must_be_one_way(named: list[bytes], chosen: Selection) -> None:
    """Serial numbers, or conditions.  Raises `ConfigurationError`."""
    if bool(named) is not chosen.open:
        raise ConfigurationError(
            "choose serial numbers or conditions (--account, --key, --method, --issued ...), not both"
            if named
            else "nothing is chosen: name a SERIAL, --serials FILE, --account, --key, --method, --issued"
        )
