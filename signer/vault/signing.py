"""The one road to a signature: intent, key, check, result (docs/issuance.md, steps 5 and 8).

Whoever wants a certificate signed comes through `Signer.certificate`, with octets that were linted before.
The intent is durable before the key is used, and the result before anybody hears of it.  What the token
returned is taken apart again: the signed octets are the linted ones, the signature verifies.

Must never: decide whether something may be signed (service.py does).

BR 4.3.1.1, 4.3.1.2, 5.4.1; CPS 4.3, 5.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography import x509

from core.clock import ClockSteppedBack
from core.errors import HaltIssuance, Refused, TransientError
from signer import api, steps
from signer.api import KeyUse, LintRecord
from signer.vault.record.journal import Journal, Kind, crl_issuance_id
from signer.vault.sealed.lifetimes import ACTIVE, Life
from signer.vault.templates import crl, leaf
from signer.vault.templates.authority import Issuer
from signer.vault.tokens import algorithms
from signer.vault.tokens.faults import Fault, TokenTrouble
from signer.vault.tokens.keys import Key
from signer.vault.tokens.message import Data, Message
from signer.vault.tokens.token import TokenThreads

_STEPS = {Kind.PRECERTIFICATE_INTENT: "5", Kind.INTENT: "8"}
"""The number in docs/issuance.md of what begins with an intent; the vault's own certificates have none."""

_TOGETHER = 16
"""Answers that one thread of the token signs before it looks for other work: few milliseconds."""

_PROOF = b"acme-server: this key works again"
"""Octets that are no part of any certificate, CRL or OCSP answer."""


@dataclass(frozen=True, slots=True)
class IssuingKey:
    """An issuing CA in the vault: what the templates need of it, its key, its use and its life."""

    issuer: Issuer
    key: Key
    use: KeyUse
    life: Life = ACTIVE


def issuing_key(issuers: Mapping[str, IssuingKey], issuer_id: str, *uses: KeyUse) -> IssuingKey:
    """The key of this issuer.  Raises `Refused` when there is none, or its use is another."""
    by = issuers.get(issuer_id)
    if by is None or by.use not in uses:
        raise Refused("issuer.unknown", f"the vault has no {' or '.join(uses)} key {issuer_id!r}")
    return by


class Signer:
    """Signs with the token and writes the journal about it."""

    def __init__(self, tokens: TokenThreads | None, journal: Journal) -> None:
        """`tokens` is None while the token is locked."""
        self._tokens = tokens
        self._shut = "" if tokens is not None else "the vault's token is not open yet"
        self._journal = journal
        self._under_way = 0
        self._certificates: dict[str, asyncio.Event] = {}
        self._orders: set[bytes] = set()
        self._in_doubt: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._fault: HaltIssuance | None = None
        self.on_lost_login: Callable[[], None] = lambda: None
        """Called when the token is gone, or has logged us out and nobody has its PIN."""

    async def certificate(
        self,
        by: IssuingKey,
        issuance_id: str,
        serial: bytes,
        tbs: bytes,
        lint: LintRecord,
        *,
        intent: Kind = Kind.INTENT,
        result: Kind = Kind.RESULT,
        follows: bool = False,
        order: bytes = b"",
    ) -> bytes:
        """The certificate over `tbs`, of which `lint` was said, in the journal before it is returned.

        One that `follows` a precertificate has the serial number and the issuance of that.  `order` is the
        SHA-256 of the finalize URL that a subscriber signed.  Raises `Refused` when the serial number or the
        issuance was used before, or the order has its certificate (nothing is signed), `TransientError` when
        the token failed (the intent stands), `HaltIssuance`.
        """
        if follows:
            self._must_follow(issuance_id, serial)
        else:
            self._must_be_new(issuance_id, serial)
        self.must_be_unanswered(order)
        self._must_not_lose_it(by.key)
        # No await between these checks and `append`, which takes both names at once.
        step = _STEPS.get(intent, "")
        with self._use_of_a_key() as tokens, self._signing_of(issuance_id, order):
            await self._journal.append(
                intent,
                issuance_id=issuance_id,
                issuer_id=by.issuer.id,
                serial=serial,
                tbs=tbs,
                lint=lint,
                order=order,
            )
            steps.reached(f"{step} intent", issuance_id)
            try:
                signature = await tokens.sign(by.key, tbs)
            except TransientError:
                self._in_doubt.add(by.key.label)
                raise
            steps.reached(f"{step} signed", issuance_id)
            certificate = leaf.assemble(tbs, by.issuer.algorithm.identifier, signature)
            _must_be_what_was_meant(certificate, tbs, serial, by)
            await self._journal.append(
                result,
                issuance_id=issuance_id,
                issuer_id=by.issuer.id,
                serial=serial,
                certificate=certificate,
                lint=lint,
                order=order,
            )
            steps.reached(f"{step} result", issuance_id)
        return certificate

    def must_be_unanswered(self, order: bytes) -> None:
        """An account's finalize request makes one certificate, whoever brings it how often.

        An intent without a result makes none: its order goes on with another serial number (the crash rule).
        Raises `Refused`.
        """
        if order and (order in self._orders or self._journal.has_certificate_of(order)):
            raise Refused(
                "applicant.used", "this order has had its certificate: the account must place another"
            )

    async def must_work(self, key: Key) -> None:
        """A key that failed proves itself before it is given another serial number to lose.

        Each loss is a revocation, on every CRL until it expires; a broken token would make them without end.
        Raises `TransientError` while it fails.
        """
        if key.label in self._in_doubt:
            with self._use_of_a_key() as tokens:
                _must_verify(key, await tokens.sign(key, _PROOF), _PROOF)
            self._in_doubt.discard(key.label)

    def _must_not_lose_it(self, key: Key) -> None:
        """No intent is written for a failing key or a hanging token: the serial number would be lost."""
        self.must_be_open().must_answer()
        if key.label in self._in_doubt:
            raise TransientError(f"the key {key.label!r} has failed: prepare again, which tries it first")

    async def ended(self, issuance_id: str) -> None:
        """Returns when no certificate of this issuance is being signed: its outcome is final then."""
        signing = self._certificates.get(issuance_id)
        if signing is not None:
            await signing.wait()

    async def crl(
        self, by: IssuingKey, shard: int, number: int, before: bytes, entries: Sequence[bytes], after: bytes
    ) -> api.SignedCrl:
        """The CRL whose TBSCertList is these octets.  Raises `Refused` when `number` does not rise."""
        tbs = Message(before, *entries, after)
        # In a thread, as whatever hashes so much: others have their turn meanwhile.
        digest = await asyncio.to_thread(tbs.digest, "sha256")
        last = self._journal.last_crl_number(by.issuer.id, shard)
        if number <= last:
            raise Refused("crl.number", f"CRL number {number} of {by.issuer.id}-{shard} follows {last}")
        issuance_id = crl_issuance_id(by.issuer.id, shard, number)
        with self._use_of_a_key() as tokens:
            # No await since the number was looked at: the journal knows it before anybody else can ask.
            await self._journal.append(
                Kind.CRL_INTENT, issuance_id=issuance_id, issuer_id=by.issuer.id, tbs=digest
            )
            signature = await tokens.sign(by.key, tbs)
            _must_verify(by.key, signature, tbs)
            signed = crl.signed(before, len(tbs), after, by.issuer.algorithm.identifier, signature)
            whole = Message(signed.before, *entries, signed.after)
            await self._journal.append(
                Kind.CRL,
                issuance_id=issuance_id,
                issuer_id=by.issuer.id,
                certificate=await asyncio.to_thread(whole.digest, "sha256"),
            )
        return signed

    async def plain(self, key: Key, data: bytes) -> bytes:
        """A verified signature by a responder's key; the journal holds the responder, not each answer."""
        [signature] = await self.plain_all(key, [data])
        return signature

    async def plain_all(self, key: Key, data: Sequence[bytes]) -> list[bytes]:
        """As `plain`, of many."""
        with self._use_of_a_key() as tokens:
            parts = [data[at : at + _TOGETHER] for at in range(0, len(data), _TOGETHER)]
            signed = await asyncio.gather(*(tokens.sign_all(key, part) for part in parts))
            signatures = [signature for part in signed for signature in part]
            for number, (signature, one) in enumerate(zip(signatures, data, strict=True)):
                _must_verify(key, signature, one)
                if number % _TOGETHER == _TOGETHER - 1:
                    await asyncio.sleep(0)  # others have their turn
        return signatures

    def must_be_open(self) -> TokenThreads:
        """The open token.  Raises `TransientError` while it is locked or the vault stops, `HaltIssuance`."""
        if self._shut or self._tokens is None:
            raise TransientError(self._shut)
        if self._fault is not None:
            raise HaltIssuance(f"the vault signs nothing since this happened: {self._fault}")
        return self._tokens

    def open(self, tokens: TokenThreads) -> None:
        """Sign with these from now on."""
        self._tokens, self._shut = tokens, ""

    async def close(self, why: str = "the vault is stopping: ask again when it is back") -> None:
        """Begin nothing more, and finish what has an intent: a clean stop costs no serial number."""
        self._shut = why
        await self._idle.wait()
        self._tokens = None

    def _must_be_new(self, issuance_id: str, serial: bytes) -> None:
        if self._journal.has_intent(issuance_id):
            raise Refused("issuance.used", f"issuance {issuance_id} was begun before: recall it")
        if self._journal.has_serial(serial):
            raise Refused("serial.used", f"serial number {serial.hex()} was used before: draw another")

    def _must_follow(self, issuance_id: str, serial: bytes) -> None:
        """Of one precertificate one certificate at most is ever begun."""
        if self._journal.has_certificate_intent(issuance_id):
            raise Refused("issuance.used", f"issuance {issuance_id} was begun before: recall it")
        precertificate = self._journal.precertificate(issuance_id)
        if precertificate is None or precertificate.serial != serial:
            raise Refused("precertificate.missing", f"issuance {issuance_id} has no such precertificate")

    @contextmanager
    def _use_of_a_key(self) -> Iterator[TokenThreads]:
        tokens = self.must_be_open()
        self._under_way += 1
        self._idle.clear()
        try:
            yield tokens
        except TokenTrouble as trouble:
            if trouble.fault in (Fault.LOGIN, Fault.TOKEN):
                self.on_lost_login()
            raise
        except ClockSteppedBack:
            raise  # this one ends by itself, when the clock has caught up
        except HaltIssuance as fault:
            # What must never happen did: it ends only with a restart, by a person who knows why.
            self._fault = fault
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    @contextmanager
    def _signing_of(self, issuance_id: str, order: bytes) -> Iterator[None]:
        signing = self._certificates[issuance_id] = asyncio.Event()
        self._orders.add(order)
        try:
            yield
        finally:
            del self._certificates[issuance_id]
            self._orders.discard(order)
            signing.set()


def _must_be_what_was_meant(certificate: bytes, tbs: bytes, serial: bytes, by: IssuingKey) -> None:
    parsed = x509.load_der_x509_certificate(certificate)
    if parsed.tbs_certificate_bytes != tbs or parsed.serial_number != int.from_bytes(serial):
        raise HaltIssuance(f"serial {serial.hex()}: the certificate is not the one that was linted")
    _must_verify(by.key, parsed.signature, tbs)


def _must_verify(key: Key, signature: bytes, data: Data) -> None:
    try:
        algorithms.verify(key.public_key, signature, data)
    except ValueError as error:
        raise HaltIssuance(
            f"the token's signature with {key.label!r}: {error}: take it out of use"
        ) from error
