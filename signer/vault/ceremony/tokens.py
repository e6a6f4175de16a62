"""The tokens of a ceremony: where each lies, who opens it, one open at a time.

A token's PIN is known here after it was made in this sitting; else it comes from the shares of the people
present, or, in the embedded set-up, from a file.  Modules look at one place at a time (SoftHSM2's directory),
so opening one token closes the other.

Must never: write a PIN anywhere but into the embedded set-up's file; keep a token open when the sitting ends.

BR 6.2.2, 6.2.7, 6.2.8; CPS 6.2.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from core.data_directory import DataDirectory
from core.durable import sync_directory
from core.errors import ConfigurationError, Refused
from core.people import Identity
from core.randomness import Randomness, token
from core.settings import Settings
from signer.vault.ceremony.step import TokenPlan
from signer.vault.people import shares
from signer.vault.record import chain
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import SealedActivation, SealedToken, TokenRole
from signer.vault.tokens import modules
from signer.vault.tokens.cryptoki import Cryptoki
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.session import Session

_SO_PIN = b"acme-server security officer v1\x00"


class Tokens:
    """The tokens of one data directory, while the people in `present` stand before them."""

    def __init__(
        self,
        settings: Settings,
        data: DataDirectory,
        configuration: Path,
        described: dict[str, TokenPlan],
        present: tuple[Identity, ...],
    ) -> None:
        self._settings = settings
        self._data = data
        self._configuration = configuration
        self._described = described
        self._present = present
        self._pins: dict[str, bytearray] = {}
        self._open: tuple[str, Cryptoki, Session] | None = None

    def must_be_free(self, label: str, role: TokenRole) -> None:
        """That a token's place is empty.  Raises `ConfigurationError`: a ceremony keeps what others made."""
        if self.is_there(label, role):
            raise ConfigurationError(
                f"{self.place(label, role)} is not empty: it may hold the tokens of another hierarchy; move "
                "them away, or name another `directory`"
            )

    def make(self, label: str, role: TokenRole, pin: bytearray) -> TokenFacts:
        """Initialise an empty place as a token; what it says of itself.  Raises `HaltIssuance`.

        To be called with a place that was found free when this step was first tried: what is there now is of
        a try that was killed, holds no key, and is thrown away.  The security officer's PIN is derived from
        the user's, so that those who can open the token, and nobody else, can also set it up anew.
        """
        self.shut()
        place = self.place(label, role)
        shutil.rmtree(place, ignore_errors=True)
        self._pins[label] = bytearray(pin)
        cryptoki = self.load(place)
        try:
            serial = cryptoki.make_token(label, officers_pin(pin), pin.decode())
            facts = cryptoki.facts(serial, self._certificate(label))
            # Still the same module: the keys are made next.
            self._open = (
                label,
                cryptoki,
                Session(cryptoki.open(serial, pin.decode(), read_write=True), cryptoki),
            )
        except BaseException:
            if self._open is None:
                cryptoki.close()
            raise
        return facts

    def is_there(self, label: str, role: TokenRole) -> bool:
        """Whether anything is in a token's place."""
        place = self.place(label, role)
        return place.exists() and any(place.iterdir())

    def discard(self, label: str, role: TokenRole) -> None:
        """Throw away a token that this ceremony made; it holds no key any more.

        Only software keeps its tokens in a directory of ours; a device is emptied, and initialised anew.
        """
        self.shut()
        self._pins.pop(label, None)
        shutil.rmtree(self.place(label, role), ignore_errors=True)

    def session(self, token: SealedToken) -> Session:
        """A session on the token, logged in.  Raises `Refused` when too few people can open it."""
        if self._open is not None and self._open[0] == token.label:
            return self._open[2]
        return self._opened(token, token.label, self.place(token.label, token.role))

    def elsewhere(self, token: SealedToken, place: Path) -> Session:
        """A session on a copy of the token, opened by the same people.  Raises as `session`."""
        return self._opened(token, f"{token.label} in {place}", place)

    def place(self, label: str, role: TokenRole) -> Path:
        """The directory of a token, for modules that keep one in a directory."""
        plan = self._described.get(label)
        return Path(plan.directory) if plan is not None and plan.directory else self._data.tokens / role

    def load(self, place: Path) -> Cryptoki:
        """The module, looking at one place; the caller closes it, and nothing else is open (`shut`)."""
        return Cryptoki(modules.configured(self._settings, place, self._configuration))

    def shut(self) -> None:
        """Close what is open: the token's files are at rest then.  The PINs stay known."""
        if self._open is not None:
            _, cryptoki, session = self._open
            self._open = None
            session.close()
            cryptoki.close()

    def close(self) -> None:
        """Close what is open and forget the PINs."""
        self.shut()
        for pin in self._pins.values():
            shares.wipe(pin)
        self._pins.clear()

    def _opened(self, token: SealedToken, name: str, place: Path) -> Session:
        pin = self.pin(token)
        self.shut()
        cryptoki = self.load(place)
        try:
            session = Session(cryptoki.open(token.serial, pin.decode(), read_write=True), cryptoki)
        except BaseException:
            cryptoki.close()
            raise
        self._open = name, cryptoki, session
        return session

    def pin(self, token: SealedToken) -> bytearray:
        """A token's PIN, known here until the sitting ends.  Raises `Refused` when too few people have it."""
        if token.label not in self._pins:
            if token.activation is None:
                pin = hierarchies.read_pin(self._settings, self._data, token.role)
                self._pins[token.label] = bytearray(pin.encode())
            else:
                secret = self.secret(token, token.activation)
                self._pins[token.label] = shares.pin_of(secret)
                shares.wipe(secret)
        return self._pins[token.label]

    def secret(self, token: SealedToken, activation: SealedActivation) -> bytearray:
        """What a token's PIN is made of, by the shares of those present; the caller wipes it."""
        # A token that was restored from a second one has its shares beside those of the lost one.
        where = [share_directory(self._data, token.label), *sorted(self._data.shares.glob("*"))]
        mine = [directory for directory in where if self._has_share(directory, token.serial)]
        return self.combined((mine or where)[0], token.serial, activation)

    def _has_share(self, directory: Path, serial: str) -> bool:
        found = (_share(directory, identity.person.id) for identity in self._present)
        return any(share is not None and share.token == serial for share in found)

    def combined(self, directory: Path, name: str, activation: SealedActivation) -> bytearray:
        """The secret that the shares in `directory` make together, bound to `name`; the caller wipes it.

        Raises `Refused` when too few of the people present hold one.
        """
        opened = {
            share.index: share.open(identity)
            for identity in self._present
            if (share := _share(directory, identity.person.id)) is not None
        }
        if len(opened) < activation.threshold:
            raise Refused(
                "ceremony.shares",
                f"{len(opened)} of the people present have a share in {directory}, and "
                f"{activation.threshold} are needed: let more holders come and bring their shares' files",
            )
        return shares.combine(opened, activation.threshold, activation.check, name)

    def _certificate(self, label: str) -> str:
        plan = self._described.get(label)
        return plan.certificate if plan is not None else ""


def officers_pin(pin: bytearray) -> str:
    """The security officer's PIN of a token that we made: who can open it can also set it up anew."""
    return hashlib.sha256(_SO_PIN + pin).hexdigest()[:32]


def laid_down_pin(path: Path, randomness: Randomness) -> bytearray:
    """The PIN that the operator laid down in `path`, or a new one, written there durably, mode 0600."""
    if not path.exists():
        write(path, token(randomness, 24).encode() + b"\n", 0o600)
    pin = bytearray(path.read_bytes().strip())
    if not pin:
        raise ConfigurationError(f"{path} is empty: write a PIN into it, or remove it and one is made")
    return pin


def share_directory(data: DataDirectory, label: str) -> Path:
    """Where the shares' files of a token lie, until their holders take them away."""
    return data.shares / label


def save_shares(directory: Path, splitting: shares.Splitting) -> None:
    """Write every share's file durably, in the place of earlier ones."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for share in splitting.shares:
        path = directory / _name(share.holder_id)
        aside = path.with_suffix(".new")
        share.save(aside)
        _sync(aside)
        aside.rename(path)
    sync_directory(directory)
    sync_directory(directory.parent)


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file durably, whole or not at all, in the place of an earlier one, readable as `mode` says."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(file, mode)
        chain.write_fully(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    aside.rename(path)
    sync_directory(path.parent)


def _share(directory: Path, holder: str) -> shares.Share | None:
    path = directory / _name(holder)
    return shares.Share.load(path) if path.exists() else None


def _name(holder: str) -> str:
    return f"{holder}.share.json"


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
