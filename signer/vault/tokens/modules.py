"""What each kind of PKCS#11 module wants of us, as data.

The code asks these switches; nowhere does it ask which module it has.  `generic` is what the standard
promises and is for a vendor's module; the others are software tokens, for tests, demonstrations and small
private CAs.  All share one rule that is no switch: the module is loaded after the last fork, and a child of
the vault never calls it (PKCS#11 v2.40 section 2.3 leaves open what would happen).

Must never: hold a PIN.

PKCS#11 v2.40 sections 3.7 (C_INITIALIZE_ARGS), 5.4, 5.5; measured behaviour: docs/tokens.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from core.errors import ConfigurationError
from core.settings import ModuleKind, Settings

CKF_OS_LOCKING_OK: Final = 0x02


class Hashing(StrEnum):
    """Who computes the digest that is signed."""

    OURS = "ours"
    """CKM_RSA_PKCS over a DigestInfo, CKM_ECDSA: a CRL of 45 MB need not cross the call."""

    TOKENS = "token's"
    """CKM_SHA256_RSA_PKCS, CKM_ECDSA_SHA256: for a token that forbids the raw mechanisms."""


class Making(StrEnum):
    """How a new token is made (`Cryptoki.make_token`)."""

    FREE_SLOT = "C_InitToken on a free slot"
    DATABASE = "a database without a PIN: the security officer has none either"
    FACTORY_PIN = "C_InitToken with the security officer's PIN of the factory"


@dataclass(frozen=True, slots=True)
class Habits:
    """One kind's switches.

    `hashing` holds the ways to sign that the kind may use, the preferred one first: the token's own list of
    mechanisms decides.  `sessions` is the greatest number of signing sessions that the kind is known to bear
    (0: no limit is known).  `tells_local` is false where CKA_LOCAL is forgotten once the key is stored.
    `longest_pin` is in octets.
    """

    remedy: str
    making: Making = Making.FREE_SLOT
    flags: int = CKF_OS_LOCKING_OK
    hashing: tuple[Hashing, ...] = (Hashing.OURS, Hashing.TOKENS)
    sessions: int = 0
    tells_local: bool = True
    longest_pin: int = 255
    software: bool = True


HABITS: Mapping[ModuleKind, Habits] = {
    ModuleKind.SOFTHSM2: Habits("run apt install softhsm2"),
    # softokn's database stores a generated key before it sets CKA_LOCAL, and so forgets it.
    ModuleKind.NSS: Habits("run apt install libnss3", making=Making.DATABASE, tells_local=False),
    # The soft token's PIN has 4 to 8 octets: far too short for a production CA.
    ModuleKind.OPENCRYPTOKI: Habits(
        "run apt install opencryptoki and start pkcsslotd", making=Making.FACTORY_PIN, longest_pin=8
    ),
    ModuleKind.GENERIC: Habits("install the token's PKCS#11 module", software=False),
}


@dataclass(frozen=True, slots=True)
class Module:
    """A PKCS#11 module: its file, the environment to load it in, its switches.

    `parameters` is what NSS calls LibraryParameters: its C_Initialize takes them in a field of its own.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    habits: Habits = HABITS[ModuleKind.SOFTHSM2]
    parameters: str = ""


def configured(settings: Settings, tokens: Path, configuration: Path) -> Module:
    """The module of the settings; see `module`."""
    return module(settings.vault.module_kind, Path(settings.vault.module), tokens, configuration)


def module(kind: ModuleKind, path: Path, tokens: Path, configuration: Path) -> Module:
    """The module at `path`; software tokens are kept in the directory `tokens` where the kind allows it.

    SoftHSM2's configuration is written to `configuration`.  openCryptoki and a vendor's module keep their
    tokens where the system's own configuration says.
    """
    match kind:
        case ModuleKind.SOFTHSM2:
            return softhsm(path, tokens, configuration)
        case ModuleKind.NSS:
            return _nss(path, tokens)
    return Module(path, habits=HABITS[kind])


def softhsm(path: Path, tokens: Path, configuration: Path) -> Module:
    """SoftHSM2 on the token directory `tokens`; writes its configuration file to `configuration`."""
    # Its files are 0600.  An objectstore.umask is for newer versions; Debian's complains of it at each start.
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\n"
        "log.level = ERROR\nslots.removable = false\n"
    )
    return Module(path, {"SOFTHSM2_CONF": str(configuration)})


def _nss(path: Path, tokens: Path) -> Module:
    if any(forbidden in str(tokens) for forbidden in "\"'\\"):
        raise ConfigurationError(f"NSS cannot take the directory {tokens}: use a --data without quotes")
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Module(
        path,
        habits=HABITS[ModuleKind.NSS],
        parameters=f'configdir="sql:{tokens}" certPrefix="" keyPrefix="" secmod="secmod.db" flags=',
    )
