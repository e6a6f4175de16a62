"""The numbers that rules set, each with the time from which it binds.

The Baseline Requirements change by date: a row here is (effective from, value, clause), and whoever needs a
number asks with the `now` of its own workflow.  So a rule of next year is in force the second it begins,
without a release, and a test crosses the date with a fake clock.  A limit of our own that is narrower than
the rule stands in the settings or beside its use, not here.

Must never: read a clock.

BR 1.2.2 (relevant dates).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

DAY = 86400
HOUR = 3600


class Limit(StrEnum):
    """What can be asked.  Durations are seconds; what is allowed or not, or asked for or not, is 1 or 0."""

    LEAF_VALIDITY = "leaf-validity"
    SHORT_LIVED_VALIDITY = "short-lived-validity"
    NOT_BEFORE_SKEW = "not-before-skew"
    VALIDATION_REUSE = "validation-reuse"
    PERSIST_REUSE = "persist-reuse"
    TOKEN_LIFETIME = "token-lifetime"
    CAA_REUSE = "caa-reuse"
    REMOTE_PERSPECTIVES = "remote-perspectives"
    REGIONS = "regions"
    PERSPECTIVE_DISTANCE = "perspective-distance"
    OCSP_VALIDITY_LEAST = "ocsp-validity-least"
    OCSP_VALIDITY_MOST = "ocsp-validity-most"
    CRL_VALIDITY = "crl-validity"
    CRL_REFRESH = "crl-refresh"
    RESPONDER_VALIDITY = "responder-validity"
    SERIAL_BITS = "serial-bits"
    REVERSE_ZONE_NAMES = "reverse-zone-names"
    SHA1_SIGNATURES = "sha1-signatures"
    CAA_PARAMETERS = "caa-parameters"
    CRL_REFRESH_WITHOUT_OCSP = "crl-refresh-without-ocsp"
    CRL_AFTER_REVOCATION = "crl-after-revocation"
    RSA_BITS = "rsa-bits"
    CA_KEY_LIFETIME = "ca-key-lifetime"
    CA_BACKDATE = "ca-backdate"
    ROOT_VALIDITY_LEAST = "root-validity-least"
    ROOT_VALIDITY_MOST = "root-validity-most"
    SCTS = "scts"
    SCTS_VALIDITY = "scts-validity"
    SCTS_LONG = "scts-long"
    SCT_OPERATORS = "sct-operators"
    LOG_LIST_AGE = "log-list-age"


@dataclass(frozen=True, slots=True)
class Row:
    """A value that binds from `since` (POSIX seconds) on, until the next row of its limit."""

    since: int
    value: int
    clause: str


def _from(date: str, value: int, clause: str) -> Row:
    return Row(int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()), value, clause)


TABLE: dict[Limit, tuple[Row, ...]] = {
    # A day is 86 400 s, and a second more is a new day: notAfter - notBefore + 1 s may be this at most.
    Limit.LEAF_VALIDITY: (
        _from("2020-09-01", 398 * DAY, "BR 6.3.2"),
        _from("2026-03-15", 200 * DAY, "BR 6.3.2"),
        _from("2027-03-15", 100 * DAY, "BR 6.3.2"),
        _from("2029-03-15", 47 * DAY, "BR 6.3.2"),
    ),
    Limit.SHORT_LIVED_VALIDITY: (
        _from("2024-03-15", 10 * DAY, "BR 1.6.1"),
        _from("2026-03-15", 7 * DAY, "BR 1.6.1"),
    ),
    # notBefore within this of the moment of signing, on either side.
    Limit.NOT_BEFORE_SKEW: (_from("2020-09-01", 48 * HOUR, "BR 7.1.2.7"),),
    # Counted from the oldest datum that the validation rests on to the issuance.
    Limit.VALIDATION_REUSE: (
        _from("2021-10-01", 398 * DAY, "BR 4.2.1"),
        _from("2026-03-15", 200 * DAY, "BR 4.2.1"),
        _from("2027-03-15", 100 * DAY, "BR 4.2.1"),
        _from("2029-03-15", 10 * DAY, "BR 4.2.1"),
    ),
    Limit.PERSIST_REUSE: (_from("2025-10-01", 10 * DAY, "BR 3.2.2.4.22"),),
    Limit.TOKEN_LIFETIME: (_from("2018-08-01", 30 * DAY, "BR 3.2.2.4.7, .19, .20"),),
    # Or the record's TTL when that is longer; we never use more than this.
    Limit.CAA_REUSE: (_from("2017-09-08", 8 * HOUR, "BR 3.2.2.8, 4.2.2.1"),),
    Limit.REMOTE_PERSPECTIVES: (
        _from("2025-03-15", 2, "BR 3.2.2.9"),
        _from("2026-03-15", 3, "BR 3.2.2.9"),
        _from("2026-06-15", 4, "BR 3.2.2.9"),
        _from("2026-12-15", 5, "BR 3.2.2.9"),
    ),
    # Distinct RIR service regions among the remote perspectives that corroborate.
    Limit.REGIONS: (
        _from("2025-03-15", 1, "BR 3.2.2.9"),
        _from("2026-03-15", 2, "BR 3.2.2.9"),
    ),
    # Kilometres between any two perspectives.
    Limit.PERSPECTIVE_DISTANCE: (_from("2025-03-15", 500, "BR 3.2.2.9"),),
    Limit.OCSP_VALIDITY_LEAST: (_from("2020-09-30", 8 * HOUR, "BR 4.9.10"),),
    Limit.OCSP_VALIDITY_MOST: (_from("2020-09-30", 10 * DAY, "BR 4.9.10"),),
    Limit.CRL_VALIDITY: (_from("2020-09-30", 10 * DAY, "BR 4.9.7"),),
    # A new CRL at the latest this long after the one before it, when every certificate names an OCSP
    # responder, and when not.
    Limit.CRL_REFRESH: (_from("2024-03-15", 7 * DAY, "BR 4.9.7"),),
    Limit.CRL_REFRESH_WITHOUT_OCSP: (_from("2024-03-15", 4 * DAY, "BR 4.9.7"),),
    Limit.CRL_AFTER_REVOCATION: (_from("2024-03-15", 24 * HOUR, "BR 4.9.7"),),
    # Ours: ocsp-nocheck makes a stolen responder key good until its certificate ends (docs/revocation.md).
    Limit.RESPONDER_VALIDITY: (_from("2020-09-30", 30 * DAY, "CP/CPS 7.1"),),
    # Bits from a CSPRNG in a serial number.
    Limit.SERIAL_BITS: (_from("2016-09-30", 64, "BR 7.1.2.7"),),
    # Names below in-addr.arpa and ip6.arpa.
    Limit.REVERSE_ZONE_NAMES: (
        _from("2012-07-01", 1, "BR 4.2.2"),
        _from("2026-03-15", 0, "BR 4.2.2"),
    ),
    # In certificates and CRLs.  (In an OCSP CertID SHA-1 is a name, no signature.)
    Limit.SHA1_SIGNATURES: (
        _from("2012-07-01", 1, "BR 7.1.3.2.1"),
        _from("2026-09-15", 0, "BR 7.1.3.2.1"),
    ),
    # accounturi and validationmethods (RFC 8657).  We honour them at any time.
    Limit.CAA_PARAMETERS: (
        _from("2017-09-08", 0, "BR 4.2.2.1"),
        _from("2027-03-15", 1, "BR 4.2.2.1"),
    ),
    Limit.RSA_BITS: (_from("2014-01-01", 2048, "BR 6.1.5"),),
    # The hard stop for any CA key, from its making on: years of 365 days, so never a day too long.
    Limit.CA_KEY_LIFETIME: (_from("2019-06-17", 20 * 365 * DAY, "CPS 6.3.2"),),
    # A CA certificate's notBefore lies within this before its signing, and not after it.
    Limit.CA_BACKDATE: (_from("2023-09-15", DAY, "BR 7.1.2.1.1, 7.1.2.6"),),
    Limit.ROOT_VALIDITY_LEAST: (_from("2023-09-15", 2922 * DAY, "BR 7.1.2.1.1"),),
    Limit.ROOT_VALIDITY_MOST: (_from("2023-09-15", 9132 * DAY, "BR 7.1.2.1.1"),),
    # Embedded SCTs that a certificate needs: up to SCTS_VALIDITY the first number, above it the second, of so
    # many operators (Chrome and Apple; Firefox counts alike).
    Limit.SCTS: (_from("2022-04-15", 2, "Chrome CT policy"),),
    Limit.SCTS_VALIDITY: (_from("2022-04-15", 180 * DAY, "Chrome CT policy"),),
    Limit.SCTS_LONG: (_from("2022-04-15", 3, "Chrome CT policy"),),
    Limit.SCT_OPERATORS: (_from("2022-04-15", 2, "Chrome CT policy"),),
    # A browser stops to enforce CT when its log list is older; a CA that goes by such a list guesses.
    Limit.LOG_LIST_AGE: (_from("2022-04-15", 70 * DAY, "Chrome CT policy"),),
}


_DAYS = sorted({each.since for rows in TABLE.values() for each in rows})


def newest(at: int) -> int:
    """The day of the newest rule that binds at `at`, both POSIX seconds: it names a state of all rules."""
    place = bisect_right(_DAYS, at)
    return _DAYS[place - 1] if place else 0


def limit(name: Limit | str, at: int) -> int:
    """The value of `name` that binds at `at` (POSIX seconds); durations in seconds.

    Raises: ValueError for a name that is not in `Limit`, or a time before its first row.
    """
    return row(name, at).value


def row(name: Limit | str, at: int) -> Row:
    """The row that binds at `at`, with its clause.  Raises: as `limit`."""
    rows = TABLE[Limit(name)]
    index = bisect_right(rows, at, key=lambda each: each.since)
    if index == 0:
        raise ValueError(f"no rule for {name} is known at {at}: is the clock right?")
    return rows[index - 1]


def next_change(after: int) -> int | None:
    """When the next rule of the table begins that does not bind at `after` yet; None when there is none."""
    place = bisect_right(_DAYS, after)
    return _DAYS[place] if place < len(_DAYS) else None


def changes(after: int) -> list[tuple[Limit, Row]]:
    """The rows that will bind later than `after`, the soonest first: what an operator must prepare for."""
    coming = [(name, each) for name, rows in TABLE.items() for each in rows if each.since > after]
    return sorted(coming, key=lambda item: (item[1].since, item[0]))
