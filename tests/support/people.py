"""A hierarchy whose PIN k of n people share, as a ceremony with people leaves it, and those people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from core.data_directory import DataDirectory
from core.people import Identity
from core.randomness import SystemRandomness
from core.settings import Settings
from signer import consent
from signer.api import ActivateRequest, ActivationState
from signer.vault.people import shares
from signer.vault.people.shares import Share
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import SealedActivation, SealedToken, TokenRole, seal
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.modules import softhsm
from signer.vault.tokens.session import Session

PASSPHRASE = "as many words as needed"


@dataclass(frozen=True)
class Crew:
    """The holders of a token's PIN, with their shares."""

    people: tuple[Identity, ...]
    shares: tuple[Share, ...]

    def request(self, number: int, state: ActivationState) -> ActivateRequest:
        """What person `number` (from 0) hands to the vault."""
        share = self.shares[number]
        return consent.activation(self.people[number], share.open(self.people[number]), share.index, state)

    def files(self, directory: Path, number: int) -> list[str]:
        """Person `number`'s identity and share as files: options of the command line."""
        identity, share = directory / f"person-{number}.identity", directory / f"person-{number}.share"
        if not identity.exists():
            self.people[number].save(identity, PASSPHRASE, SystemRandomness())
            self.shares[number].save(share)
        return ["--identity", str(identity), "--share", str(share)]


def crew(count: int) -> tuple[Identity, ...]:
    """So many people."""
    return tuple(
        Identity.make(name, "operator", SystemRandomness())
        for name in ("Aoi", "Beni", "Chie", "Daiki", "Emi", "Fumio", "Gen")[:count]
    )


def hand_over(data: DataDirectory, threshold: int = 2, count: int = 3) -> Crew:
    """Split the issuing token's PIN among people, seal who they are, and leave no PIN on the disk."""
    settings = Settings()
    people = crew(count)
    hierarchy = hierarchies.load(data, settings)
    secret = SystemRandomness().octets(shares.SECRET)
    issuing = hierarchy.token(TokenRole.ISSUING)
    made = shares.split(secret, threshold, [each.person for each in people], issuing.serial)
    activation = SealedActivation(threshold, made.check, tuple(each.person for each in people))
    _change_pin(data, settings, issuing, data.pin.read_text().strip(), shares.pin_of(secret).decode())
    tokens = tuple(
        replace(each, activation=activation) if each is issuing else each for each in hierarchy.tokens
    )
    root = hierarchy.token(TokenRole.ROOT)
    cryptoki = _cryptoki(data, settings, root)
    try:
        session = Session(cryptoki.open(root.serial, (data.vault / "root-pin").read_text().strip()))
        key = session.find(hierarchies.ROOT_ID)
        sealed = seal(
            replace(hierarchy, tokens=tokens, sequence=hierarchy.sequence + 1),
            lambda octets: session.sign(key, octets),
        )
    finally:
        cryptoki.close()
    data.hierarchy.write_bytes(sealed)
    data.pin.unlink()
    (data.vault / "root-pin").unlink()
    return Crew(people, made.shares)


def _change_pin(data: DataDirectory, settings: Settings, token: SealedToken, old: str, new: str) -> None:
    cryptoki = _cryptoki(data, settings, token)
    try:
        cryptoki.open(token.serial, old, read_write=True).set_pin(old, new)
    finally:
        cryptoki.close()


def _cryptoki(data: DataDirectory, settings: Settings, token: SealedToken) -> Cryptoki:
    return Cryptoki(
        softhsm(Path(settings.vault.module), data.tokens / token.label, data.root / "people.conf")
    )
