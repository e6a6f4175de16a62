"""The options by which commands choose certificates, and the selection that they make.

Must never: take a missing condition for all certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ConfigurationError
from core.methods import METHODS
from operations.commands import words
from operations.commands.options import Options

if TYPE_CHECKING:
    from acme_server.store.selection import Selection


@dataclass(frozen=True)
class Choice(Options):
    """Certificates: by their serial numbers, or all that meet every condition given."""

    serials: Annotated[
        list[str] | None, typer.Argument(metavar="[SERIAL]...", help="Hexadecimal, with or without colons.")
    ] = None
    serials_file: Annotated[
        str,
        typer.Option(
            "--serials", metavar="FILE", help="Serial numbers, one a line; - reads them from stdin."
        ),
    ] = ""
    account: Annotated[str, typer.Option(help="All certificates of this account (its URL).")] = ""
    binding: Annotated[str, typer.Option(help="Of all accounts of this external account key (kid).")] = ""
    key: Annotated[
        str, typer.Option(help="With this key: a file, or SHA-256 of its SubjectPublicKeyInfo in hex.")
    ] = ""
    name: Annotated[str, typer.Option(help="With this name (domain or address), or one below it.")] = ""
    issuer: Annotated[str, typer.Option(help="Of this issuing CA, by its id in `status`.")] = ""
    profile: Annotated[str, typer.Option(help="Of this profile.")] = ""
    method: Annotated[str, typer.Option(help="With a name validated by this method, like http-01.")] = ""
    issued: Annotated[
        str, typer.Option(metavar="FROM..UNTIL", help="Issued in this time; either end may be left out.")
    ] = ""
    validated: Annotated[
        str, typer.Option(metavar="FROM..UNTIL", help="With a name validated in this time (by --method).")
    ] = ""
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and do nothing.")] = False

    def made(self) -> tuple[list[bytes], Selection]:
        """Serial numbers, or a selection; the other is empty.  Raises `ConfigurationError`."""
        named = words.serials(self.serials or [], self.serials_file)
        chosen = self._selection()
        if bool(named) is not chosen.open:
            raise ConfigurationError(
                "choose serial numbers or conditions (--account, --key, --name, --method ...), not both"
                if named
                else "nothing is chosen: name a SERIAL, --serials FILE, --account, --key, --name, --method"
            )
        return named, chosen

    def _selection(self) -> Selection:
        from acme_server.store.selection import Selection

        if self.method and self.method not in METHODS:
            raise ConfigurationError(f"--method: {self.method!r} is none of {', '.join(METHODS)}")
        issued_from, issued_until = words.period("--issued", self.issued)
        validated_from, validated_until = words.period("--validated", self.validated)
        return Selection(
            issuer_id=self.issuer,
            account_url=self.account,
            binding_kid=self.binding,
            spki_sha256=words.spki(self.key),
            name=words.name(self.name),
            profile=self.profile,
            method=self.method,
            issued_from=issued_from,
            issued_until=issued_until,
            validated_from=validated_from,
            validated_until=validated_until,
        )
