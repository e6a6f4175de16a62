"""Has every name been validated?  The vault's own answer, from signatures alone.

For each name of a certificate there must be one attempt in which the pinned perspectives saw the
applicant's control of it, and one (the same, or a later CAA recheck) in which they saw that CAA permits the
issuance.  Each attempt must meet the quorum of its day by itself: statements of different attempts are never
added up.

Must never: believe anything that no pinned perspective has signed, or ask a network or a database.

BR 3.2.2.4 (methods), 3.2.2.8 (CAA), 3.2.2.9 (corroboration), 4.2.1 (reuse); RFC 8659, RFC 8657.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from core import account_hash, evidence, identifiers, quorum
from core.errors import Refused
from core.evidence import Result, SignedStatement, Statement
from core.methods import METHODS, reuse
from core.requirements import Limit, limit
from core.settings import Rules
from signer.api import LeafRequest
from signer.vault.judgement import applicant

CLOCK_TOLERANCE = 60
"""Seconds by which a perspective's clock may run ahead of the vault's."""

ATTEMPT_SPAN = 30 + 2 * CLOCK_TOLERANCE
"""Seconds between the first and the last statement of one attempt, whose perspectives look at one moment: a
caller that asked them one by one, each at a lucky hour, has corroborated nothing."""

MAX_STATEMENTS = 2000
"""100 names, twice, seen by 10 perspectives: more is no honest request."""


@dataclass(frozen=True, slots=True)
class PinnedPerspective:
    """A perspective sealed in the hierarchy at the ceremony; the first one pinned is the primary."""

    code: str
    region: str
    latitude: float
    longitude: float
    public_key: ec.EllipticCurvePublicKey


class Verifier:
    """Verifies evidence against the perspectives pinned by key id (core.evidence.key_id)."""

    def __init__(
        self,
        pinned: Mapping[bytes, PinnedPerspective],
        rules: Rules,
        local_names: Sequence[str],
        methods: Collection[str] = (),
        *,
        persist_plain: bool = False,
    ) -> None:
        """`methods` are those that the settings list: one whose record stays counts only then.

        `persist_plain`: whether such a record that names no account key does.
        """
        perspectives = [*pinned.values()]
        if not perspectives:
            raise ValueError("no perspective is pinned: seal at least one in the ceremony")
        self._pinned = pinned
        self._primary = perspectives[0].code
        self._remotes = [(remote.code, remote.region) for remote in perspectives[1:]]
        self._rules = rules
        self._local_names = local_names if rules is Rules.PRIVATE else ()
        self._methods = frozenset(methods)
        self._persist_plain = persist_plain

    def verify(self, request: LeafRequest, now: int, until: int | None = None) -> None:
        """Require enough evidence for every name of `request`, good until `until` (`now` when None).

        Times are POSIX seconds.

        Raises `Refused`: "evidence.*" when there is not enough or something is wrong with it, "quorum.*" when
        too few perspectives agree, "applicant.*" when the account did not ask for this.
        """
        speaking = applicant.thumbprints(request)
        if not 0 < len(request.evidence) <= MAX_STATEMENTS:
            raise Refused("evidence.missing", "no evidence, or more of it than any certificate needs")
        by_name: dict[str, list[Statement]] = defaultdict(list)
        for signed in request.evidence:
            statement = self._authentic(signed)
            _must_concern(statement, request, now)
            by_name[statement.name].append(statement)
        for name in request.names:
            concerned = by_name.get(name, ())
            self._verify_name(name, concerned, speaking, now if until is None else until)

    def _authentic(self, signed: SignedStatement) -> Statement:
        perspective = self._pinned.get(signed.key_id)
        if perspective is None:
            raise Refused("evidence.unknown-key", "a statement is signed with a key that is not pinned")
        try:
            statement = evidence.verify(signed, perspective.public_key)
        except ValueError as error:
            raise Refused("evidence.signature", str(error)) from error
        if statement.perspective != perspective.code:
            raise Refused("evidence.perspective", "a statement names another perspective than its key does")
        return statement

    def _verify_name(
        self, name: str, statements: Iterable[Statement], speaking: Collection[str], until: int
    ) -> None:
        attempts: dict[str, dict[str, Statement]] = defaultdict(dict)
        for statement in statements:
            if statement.perspective in attempts[statement.attempt]:
                raise Refused("evidence.duplicate", f"{name}: one perspective, one attempt, two statements")
            attempts[statement.attempt][statement.perspective] = statement
        for attempt in attempts.values():
            newest = max(statement.checked_at for statement in attempt.values())
            if newest - _oldest(attempt) > ATTEMPT_SPAN:
                raise Refused("evidence.span", f"{name}: the perspectives did not look at the same time")
        validations = [attempt for attempt in attempts.values() if _has_control(attempt)]
        checks = [attempt for attempt in attempts.values() if _has_caa(attempt)]
        if not validations:
            raise Refused("evidence.missing", f"{name} was not validated: validate it first")
        if len(validations) > 1:
            raise Refused("evidence.attempts", f"{name}: two validations are not better than one: send one")
        if not checks:
            raise Refused("evidence.caa-missing", f"CAA of {name} was not checked: check it first")
        method = self._verify_control(name, validations[0], until)
        _must_name_the_applicant(name, validations[0], speaking)
        # Of several CAA checks the newest is the truth, be it good or bad.
        self._verify_caa(name, method, max(checks, key=_oldest), until)

    def _verify_control(self, name: str, attempt: Mapping[str, Statement], until: int) -> str:
        method = _one_method(name, attempt)
        if name.startswith("*.") and not METHODS[method].wildcard:
            raise Refused("evidence.wildcard", f"{method} shows no control of {name}: use a DNS method")
        if identifiers.is_address(name) and not METHODS[method].address:
            raise Refused("evidence.address", f"{method} shows no control of {name}: use http-01")
        if not METHODS[method].key_authorization:
            self._verify_record(name, method, attempt, until)
        if until - _oldest(attempt) > reuse(method, evidence.least_ttl(attempt.values()), until):
            raise Refused(
                "evidence.too-old", f"the validation of {name} is too old (BR 4.2.1): validate again"
            )
        self._must_agree(name, attempt, _control_passes, "control of the name")
        return method

    def _verify_record(self, name: str, method: str, attempt: Mapping[str, Statement], until: int) -> None:
        """A record that stays names the account's key by a hash, which is worked out here anew."""
        if method not in self._methods:
            raise Refused("evidence.method", f"{method} is off here: list it in validation.methods")
        for statement in filter(_control_passes, attempt.values()):
            seen = statement.control
            assert seen is not None
            if seen.account_hash:
                base, _ = identifiers.split_wildcard(name)
                if seen.account_hash not in account_hash.uris(base, seen.thumbprint, statement.account_url):
                    raise Refused(
                        "evidence.account-hash",
                        f"{name}: the record names another account or key: validate it again",
                    )
            elif not self._persist_plain:
                raise Refused(
                    "evidence.method",
                    f"{name}: the record names no account key: publish the hashed form, or set "
                    "validation.persist_plain",
                )
        ends = evidence.good_until(attempt.values())
        if ends is not None and until > ends:
            raise Refused("evidence.too-old", f"{name}: the record's persistUntil is over: renew it")

    def _verify_caa(self, name: str, method: str, attempt: Mapping[str, Statement], until: int) -> None:
        if until - _oldest(attempt) > limit(Limit.CAA_REUSE, until):
            raise Refused(
                "evidence.caa-too-old", f"the CAA check of {name} is too old (BR 4.2.2.1): check again"
            )
        address = identifiers.is_address(name)
        exempt = address or identifiers.is_local(identifiers.split_wildcard(name)[0], self._local_names)
        for statement in attempt.values():
            seen = statement.caa
            if seen is None or seen.result is not Result.PASS:
                continue
            if seen.exempt and not exempt:
                raise Refused(
                    "evidence.caa-exempt",
                    f"{name} is neither local nor an address: its CAA must be looked up",
                )
            if address and not seen.exempt:
                raise Refused("evidence.caa-odd", f"{name} is an address, and CAA was looked up for it")
            if not seen.exempt and seen.method != method:
                # RFC 8657 section 4: the record may permit one method and not another.
                raise Refused(
                    "evidence.caa-method", f"CAA of {name} was asked for another method: check again"
                )
            if bool(seen.records) is not bool(seen.found_at) or (seen.exempt and seen.records):
                raise Refused("evidence.caa-odd", f"the CAA statement about {name} contradicts itself")
        self._must_agree(name, attempt, _caa_passes, "permission by CAA")

    def _must_agree(
        self, name: str, attempt: Mapping[str, Statement], passes: Callable[[Statement], bool], what: str
    ) -> None:
        passed = {code for code, statement in attempt.items() if passes(statement)}
        if self._primary not in passed:
            raise Refused("evidence.primary", f"{name}: the primary perspective did not see {what}")
        # Every pinned remote counts as used, whether or not its statement was sent along.  The rule is that
        # of the day of the attempt, which its signatures vouch for.
        corroborating = passed - {self._primary}
        quorum.check(self._rules, self._primary, self._remotes, corroborating, _oldest(attempt))


def _must_concern(statement: Statement, request: LeafRequest, now: int) -> None:
    if statement.account_url != request.account_url:
        raise Refused("evidence.account", "a statement was made for another account: validate the name again")
    if statement.name not in request.names:
        raise Refused("evidence.name", f"a statement is about {statement.name!r}, which was not asked for")
    if statement.checked_at > now + CLOCK_TOLERANCE:
        raise Refused("evidence.future", "a statement comes from the future: see to the perspectives' clocks")
    if not statement.attempt:
        raise Refused("evidence.attempt", "a statement belongs to no attempt")


def _must_name_the_applicant(name: str, attempt: Mapping[str, Statement], speaking: Collection[str]) -> None:
    """What proved the control names a key: that of the account whose signed request this is."""
    seen = {
        statement.control.thumbprint
        for statement in attempt.values()
        if statement.control is not None and statement.control.result is Result.PASS
    }
    if len(seen) != 1 or not seen <= set(speaking):
        raise Refused(
            "evidence.account-key", f"{name} was validated with another account key: validate it again"
        )


def _has_control(attempt: Mapping[str, Statement]) -> bool:
    return any(statement.control is not None for statement in attempt.values())


def _has_caa(attempt: Mapping[str, Statement]) -> bool:
    return any(statement.caa is not None for statement in attempt.values())


def _oldest(attempt: Mapping[str, Statement]) -> int:
    return min(statement.checked_at for statement in attempt.values())


def _control_passes(statement: Statement) -> bool:
    return statement.control is not None and statement.control.result is Result.PASS


def _caa_passes(statement: Statement) -> bool:
    return statement.caa is not None and statement.caa.result is Result.PASS


def _one_method(name: str, attempt: Mapping[str, Statement]) -> str:
    """The method of an attempt: known, the same from all sides, and about this very name."""
    base, _ = identifiers.split_wildcard(name)
    seen = [statement.control for statement in attempt.values() if statement.control is not None]
    methods = {control.method for control in seen}
    if len(methods) != 1 or not methods <= METHODS.keys():
        raise Refused("evidence.method", f"{name}: the perspectives used no one known method")
    # The strictest reading of BR 3.2.2.4 (SC-101v2): the Authorization Domain Name is the name itself,
    # neither pruned nor reached by CNAME.
    if any(control.adn != base for control in seen if control.result is Result.PASS):
        raise Refused("evidence.adn", f"{name}: control was shown of another name")
    return methods.pop()
