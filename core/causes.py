"""Why a subscriber certificate must be revoked: each cause with its reason code and its time.

The numbers are those of the list in BR 4.9.1.1.  The time counts from when the CA learned of it (BR 4.9.5)
to the published revocation; short-lived certificates have none, and are revoked by the same table.

Must never: hold a cause whose reason BR 7.2.2 does not allow for a subscriber certificate.

BR 4.9.1.1, 4.9.5, 7.2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.revocations import KEY_COMPROMISE, UNSPECIFIED

DAY = 86400

AFFILIATION_CHANGED = 3
SUPERSEDED = 4
CESSATION_OF_OPERATION = 5
PRIVILEGE_WITHDRAWN = 9

REASONS: Mapping[int, str] = {
    UNSPECIFIED: "unspecified",
    KEY_COMPROMISE: "keyCompromise",
    AFFILIATION_CHANGED: "affiliationChanged",
    SUPERSEDED: "superseded",
    CESSATION_OF_OPERATION: "cessationOfOperation",
    PRIVILEGE_WITHDRAWN: "privilegeWithdrawn",
}
"""The CRLReasons of subscriber certificates, by their names in RFC 5280 section 5.3.1."""

SUBSCRIBERS: Mapping[int, str] = {code: word for code, word in REASONS.items() if code != PRIVILEGE_WITHDRAWN}
"""Those that a subscriber may choose (BR 7.2.2): privilegeWithdrawn is the CA's own."""


class Cause(StrEnum):
    """Our words for the list of BR 4.9.1.1."""

    SUBSCRIBER_REQUEST = "subscriber-request"
    UNAUTHORIZED_REQUEST = "unauthorized-request"
    KEY_COMPROMISE = "key-compromise"
    COMPUTABLE_KEY = "computable-key"
    UNRELIABLE_VALIDATION = "unreliable-validation"
    KEY_REQUIREMENTS = "key-requirements"
    MISUSE = "misuse"
    AGREEMENT_VIOLATED = "agreement-violated"
    NAME_NOT_PERMITTED = "name-not-permitted"
    MISLEADING_WILDCARD = "misleading-wildcard"
    INFORMATION_CHANGED = "information-changed"
    MISISSUANCE = "misissuance"
    INACCURATE_INFORMATION = "inaccurate-information"
    RIGHT_ENDED = "right-ended"
    CPS_REQUIRES = "cps-requires"
    EXPOSED_KEY = "exposed-key"


@dataclass(frozen=True, slots=True)
class Rule:
    """`reason` by RFC 5280 section 5.3.1, `within` seconds, the `number` in the list, and what it `says`."""

    number: int
    reason: int
    within: int
    says: str

    @property
    def clause(self) -> str:
        """Where it stands."""
        return f"BR 4.9.1.1 ({self.number})"


RULES: Mapping[Cause, Rule] = {
    Cause.SUBSCRIBER_REQUEST: Rule(1, UNSPECIFIED, DAY, "the subscriber asks for it"),
    Cause.UNAUTHORIZED_REQUEST: Rule(
        2, PRIVILEGE_WITHDRAWN, DAY, "the subscriber says that the original request was not authorized"
    ),
    Cause.KEY_COMPROMISE: Rule(
        3, KEY_COMPROMISE, DAY, "there is evidence that the private key is compromised"
    ),
    Cause.COMPUTABLE_KEY: Rule(
        4, KEY_COMPROMISE, DAY, "a method is known that computes the private key, like Debian's weak keys"
    ),
    Cause.UNRELIABLE_VALIDATION: Rule(
        5, SUPERSEDED, DAY, "there is evidence that the validation of a name should not be relied upon"
    ),
    Cause.KEY_REQUIREMENTS: Rule(6, SUPERSEDED, 5 * DAY, "the key no longer meets BR 6.1.5 and 6.1.6"),
    Cause.MISUSE: Rule(7, PRIVILEGE_WITHDRAWN, 5 * DAY, "there is evidence of misuse"),
    Cause.AGREEMENT_VIOLATED: Rule(
        8, PRIVILEGE_WITHDRAWN, 5 * DAY, "the subscriber violated the subscriber agreement"
    ),
    Cause.NAME_NOT_PERMITTED: Rule(
        9, CESSATION_OF_OPERATION, 5 * DAY, "the use of a name or address is no longer legally permitted"
    ),
    Cause.MISLEADING_WILDCARD: Rule(
        10, PRIVILEGE_WITHDRAWN, 5 * DAY, "a wildcard certificate served a fraudulently misleading name"
    ),
    Cause.INFORMATION_CHANGED: Rule(
        11, PRIVILEGE_WITHDRAWN, 5 * DAY, "information in the certificate has materially changed"
    ),
    Cause.MISISSUANCE: Rule(
        12, SUPERSEDED, 5 * DAY, "it was not issued in accordance with the BR or the CP/CPS"
    ),
    Cause.INACCURATE_INFORMATION: Rule(
        13, PRIVILEGE_WITHDRAWN, 5 * DAY, "information in the certificate is inaccurate"
    ),
    Cause.RIGHT_ENDED: Rule(14, UNSPECIFIED, 5 * DAY, "the CA's right to issue has ended"),
    Cause.CPS_REQUIRES: Rule(
        15, UNSPECIFIED, 5 * DAY, "the CP/CPS asks for it: as when the issuing CA itself is revoked"
    ),
    Cause.EXPOSED_KEY: Rule(
        16, KEY_COMPROMISE, 5 * DAY, "a method is known that exposes the key, or its making was flawed"
    ),
}


PROVING = frozenset(cause for cause, rule in RULES.items() if rule.reason == KEY_COMPROMISE)
"""Findings of ours about a key: all that core/compromise.py says follows.  A subscriber who asks with the
reason keyCompromise says so, which proves nothing of the key."""


def reason_of(cause: Cause, asked: int | None) -> int:
    """The reason code for `cause`; a subscriber who asks may name one of `SUBSCRIBERS` (BR 7.2.2).

    Raises ValueError when the cause fixes another reason than the one `asked` for.
    """
    fixed = RULES[cause].reason
    if asked is None or asked == fixed:
        return fixed
    if cause is Cause.SUBSCRIBER_REQUEST and asked in SUBSCRIBERS:
        return asked
    raise ValueError(
        f"{cause} fixes the reason {REASONS[fixed]} ({RULES[cause].clause}): leave the reason out, or name"
        " another cause"
    )
