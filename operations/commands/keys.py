"""The commands of `acme-server keys`; what they do is in operations/keys.py.

Must never: write to the database itself, or print a private key.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from operations.commands.command import command, group, say
from operations.commands.options import Reporting
from operations.process import Exit

application = group("keys", "Keys: those never certified (check, block, list), and the CA's own (inventory).")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
Option = Annotated[Path | None, typer.Option(exists=True, dir_okay=False)]


@command(application)
def check(given: Reporting, file: File) -> Exit:
    """Say why the key in FILE would be refused.

    FILE is a CSR, a certificate or a key, PEM or DER.  Ends with exit code 0 when nothing speaks against it.
    """
    from operations import keys

    found = keys.read(file)
    faults = keys.check(found, given.settings(), given.directory())
    if given.json:
        told = {"what": found.what, "spki_sha256": found.spki_sha256.hex(), "faults": faults}
        say(json.dumps(told))
    else:
        say(f"{found.what}, SHA-256 of its SubjectPublicKeyInfo {found.spki_sha256.hex()}")
        for fault in faults:
            say(f"refused: {fault}")
        if not faults:
            say("nothing speaks against this key")
    return Exit.REFUSED if faults else Exit.DONE


@command(application)
def block(
    given: Reporting,
    reason: Annotated[str, typer.Option(help="Why it counts as compromised: for the audit log.")],
    spki: Annotated[str, typer.Option(help="SHA-256 of the SubjectPublicKeyInfo, hexadecimal.")] = "",
    certificate: Option = None,
    key_file: Option = None,
    proof: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A CSR by which its holder proves that he has it."),
    ] = None,
) -> None:
    """Block a key that is proven compromised, for ever.

    All its unexpired certificates are revoked with reason keyCompromise.  Cannot be undone.
    """
    from operations import keys
    from operations.desk import local_api

    spki_sha256, cause = keys.to_block(spki, certificate, key_file, proof, reason)
    done = local_api.block_key(given.directory(), spki_sha256, cause)
    if given.json:
        told = {
            "spki_sha256": spki_sha256.hex(),
            "newly": done.newly,
            "revoked": [serial.hex() for serial in done.revoked],
            "upgraded": [serial.hex() for serial in done.upgraded],
        }
        say(json.dumps(told))
    else:
        say(f"{spki_sha256.hex()} is blocked{'' if done.newly else ', as it was before'}")
        for serial in done.revoked:
            say(f"{serial.hex()} is revoked (keyCompromise)")
        for serial in done.upgraded:
            say(f"{serial.hex()} was revoked before; its reason is keyCompromise now")


@command(application, "list-blocked")
def list_blocked(given: Reporting) -> None:
    """List the keys that are blocked for ever, the oldest first."""
    from operations import keys

    for spki_sha256, reason, at in keys.blocked(given.directory()):
        if given.json:
            say(json.dumps({"spki_sha256": spki_sha256.hex(), "reason": reason, "blocked_at": at}))
        else:
            say(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}  {spki_sha256.hex()}  {reason}")


@command(application)
def inventory(given: Reporting) -> None:
    """List the CA's own keys: where each is, in its token and in which copies.

    As the last ceremony sealed it; needs no token.  A destroyed key is in no place.
    """
    from signer.vault.sealed import hierarchy, inventory

    for entry in inventory.entries(hierarchy.load(given.directory(), given.settings())):
        if given.json:
            say(json.dumps(asdict(entry) | {"spki_sha256": entry.spki_sha256.hex()}))
            continue
        ends = datetime.fromtimestamp(entry.ends, UTC)
        say(f"{entry.issuer:<10} {entry.state:<10} {entry.custody:<8} until {ends:%Y-%m-%d}")
        say(f"  public key  {entry.spki_sha256.hex()}")
        for place in entry.places or ("nowhere: destroyed",):
            say(f"  {place}")
