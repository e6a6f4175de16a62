"""What a token and its module are: recorded at the ceremony, read again at every start.

A module may claim any manufacturer and model.  The claim is worth something because people stood before the
device at the ceremony, compared it with its certificate, and had what they saw sealed by the root key; later
the same facts must come out again, from the same module file.

Must never: take the certificate number from the token; it is what people read on paper.

BR 6.2.7; CPS 6.2.1, 6.2.11.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import pkcs11

from core.errors import HaltIssuance


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """`firmware` is "major.minor"; `module_sha256` is over the module's file, lower-case hex.

    `certificate` is the validation that people found to cover the device ("FIPS 140-3 #4735"), "" for none.
    """

    manufacturer: str
    model: str
    serial: str
    firmware: str
    module: str
    module_sha256: str
    certificate: str = ""


def read(token: pkcs11.Token, module: Path, certificate: str = "") -> TokenFacts:
    """The facts of a token now (C_GetTokenInfo), and of the file of its module."""
    major, minor = token.firmware_version
    return TokenFacts(
        manufacturer=token.manufacturer_id,
        model=token.model,
        serial=token.serial.decode(errors="replace"),
        firmware=f"{major}.{minor}",
        module=str(module),
        module_sha256=hashlib.sha256(module.read_bytes()).hexdigest(),
        certificate=certificate,
    )


def must_be_as_recorded(recorded: TokenFacts, found: TokenFacts) -> None:
    """Raises `HaltIssuance` naming every fact that changed since the ceremony.

    The certificate is no fact that a token tells; the module's path may change, its octets may not.
    """
    changed = [
        f"{name} was {getattr(recorded, name)!r} and is {getattr(found, name)!r}"
        for name in (field.name for field in fields(TokenFacts))
        if name not in ("certificate", "module") and getattr(recorded, name) != getattr(found, name)
    ]
    if changed:
        raise HaltIssuance(
            f"the token is not the one that the ceremony recorded: {'; '.join(changed)}: put the recorded "
            "token and module back, or record the new one in a ceremony"
        )
