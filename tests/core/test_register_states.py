"""The register driven at random against a model of it: whatever happens, in whatever order, it stays true."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from core import audit, blocked_keys, certificates, compromise, precertificates, revocations, tables
from core.audit import AuditChain
from core.certificates import IllegalMove, Reservation, State
from core.clock import FakeClock
from core.database import Transaction
from core.issuers import Issuer, put_issuer
from core.revocations import AlreadyRevoked, UnknownCertificate
from tests.support.database import NOW

NUMBERS = st.integers(0, 5)


def serial(number: int) -> bytes:
    return bytes([number + 1]) * 16


class Register(RuleBasedStateMachine):
    """`states`, `reasons`, `proven` are the model; each rule does one thing to the register and to it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "ca.sqlite"
        tables.migrate(path, FakeClock(NOW))
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.tx = Transaction(self.connection, AuditChain.resume(self.connection), NOW)
        put_issuer(self.tx, Issuer("r1", "issuing", "ec-p256", b"der", b"pem", 2))
        self.states: dict[int, State] = {}
        self.reasons: dict[int, int] = {}
        self.proven: set[int] = set()
        self.version = 0

    def teardown(self) -> None:
        with closing(self.connection):
            assert audit.verify(self.tx) == []
        self.directory.cleanup()

    @rule(number=NUMBERS)
    def reserve(self, number: int) -> None:
        reservation = Reservation(
            *(str(number), serial(number), "r1", number % 2, "order", "account", "tlsserver", ("a.example",)),
            *(bytes([number]) * 32, NOW, NOW + 100, {}),
        )
        with suppress(sqlite3.IntegrityError):
            certificates.reserve(self.tx, reservation)
            assert number not in self.states
            self.states[number] = State.RESERVED

    @rule(number=NUMBERS, to=st.sampled_from([State.ISSUED, State.LOST, State.ABANDONED]))
    def move(self, number: int, to: State) -> None:
        try:
            if to is State.ISSUED:
                certificates.store(self.tx, str(number), b"certificate", NOW, b"", None)
            elif to is State.LOST:
                certificates.mark_lost(self.tx, str(number))
            else:
                certificates.abandon(self.tx, str(number))
        except UnknownCertificate:
            assert number not in self.states
        except IllegalMove:
            assert to not in certificates.MOVES[self.states[number]] | {self.states[number]}
        else:
            assert to in certificates.MOVES[self.states[number]] | {self.states[number]}
            if to is State.LOST and self.states[number] is not to and number not in self.reasons:
                self.reasons[number] = revocations.UNSPECIFIED
                self.version += 1
            self.states[number] = to

    @rule(number=NUMBERS)
    def precertify(self, number: int) -> None:
        try:
            precertificates.store(self.tx, str(number), b"precertificate", b"", None)
        except UnknownCertificate:
            assert number not in self.states
        except IllegalMove:
            assert self.states[number] not in (State.RESERVED, State.PRECERTIFIED)
        else:
            assert self.states[number] in (State.RESERVED, State.PRECERTIFIED)
            self.states[number] = State.PRECERTIFIED

    @rule(number=NUMBERS)
    def give_up(self, number: int) -> None:
        precertificates.give_up(self.tx, str(number), "a test")
        if self.states.get(number) is State.PRECERTIFIED and number not in self.reasons:
            self.reasons[number] = revocations.UNSPECIFIED
            self.version += 1

    @rule(number=NUMBERS, reason=st.sampled_from(sorted(revocations.REASONS)))
    def revoke(self, number: int, reason: int) -> None:
        try:
            revocations.revoke(self.tx, serial(number), reason, "asked")
        except UnknownCertificate:
            assert self.states.get(number) in (None, State.RESERVED, State.ABANDONED)
        except AlreadyRevoked:
            assert number in self.reasons
        else:
            assert number not in self.reasons
            self.reasons[number] = reason
            self.version += 1

    @rule(number=NUMBERS)
    def upgrade(self, number: int) -> None:
        try:
            revocations.upgrade_reason(self.tx, serial(number), "proof")
        except UnknownCertificate:
            assert number not in self.reasons
        except AlreadyRevoked:
            assert self.reasons[number] == revocations.KEY_COMPROMISE
        else:
            self.reasons[number] = revocations.KEY_COMPROMISE
            self.version += 1

    @rule(number=NUMBERS)
    def prove(self, number: int) -> None:
        said = self.reasons.get(number)
        try:
            compromise.prove_of_certificate(self.tx, serial(number), "proof")
        except UnknownCertificate:
            assert self.states.get(number) in (None, State.RESERVED, State.ABANDONED)
        except AlreadyRevoked:
            assert number in self.proven
        else:
            assert number not in self.proven
            self.proven.add(number)
            self.reasons[number] = revocations.KEY_COMPROMISE
            self.version += said != revocations.KEY_COMPROMISE

    @invariant()
    def relying_parties_hear_of_exactly_what_was_signed(self) -> None:
        for number in range(6):
            status = revocations.status_of(self.tx, serial(number))
            assert (status is not None) == (
                self.states.get(number) in (State.PRECERTIFIED, State.ISSUED, State.LOST)
            )
            revocation = None if status is None else status.revocation
            assert (None if revocation is None else revocation.reason) == self.reasons.get(number)

    @invariant()
    def the_crls_hold_exactly_what_is_revoked(self) -> None:
        entries = [each for shard in (0, 1) for each in revocations.in_scope(self.tx, "r1", shard, NOW)]
        assert {each.serial: each.reason for each in entries} == {
            serial(number): reason for number, reason in self.reasons.items()
        }

    @invariant()
    def every_change_of_a_revocation_is_a_new_version(self) -> None:
        assert revocations.version(self.tx) == self.version

    @invariant()
    def a_key_is_blocked_when_its_compromise_is_proven_and_not_before(self) -> None:
        for number in range(6):
            assert blocked_keys.is_blocked(self.tx, bytes([number]) * 32) == (number in self.proven)


Register.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestRegister = pytest.mark.clause("RFC 6960 section 2.2")(Register.TestCase)
