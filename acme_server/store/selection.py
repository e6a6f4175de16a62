"""Which certificates have to be revoked or renewed together: by issuing CA, account, key, name, method, time.

A register has millions of rows, so a selection is looked at in pages of a bounded number of rows; between two
pages everybody else is served.

Must never: select what no subscriber has (the vault's own OCSP responders, serial numbers whose key was never
used); miss what is being signed at this moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.database import Rows
from core.errors import Refused

SCAN = 5000
"""Rows that one page looks at: a few milliseconds."""

AT_ONCE = 100
"""Authorizations that one transaction ends."""


@dataclass(frozen=True, slots=True)
class Selection:
    """All that is given must hold; "" and None leave a criterion open.

    `name` is a name of the certificate, or a domain above one; `spki_sha256` is hex.  Times are POSIX
    seconds, the first included, the last not: `issued_*` of the signing, `validated_*` of the oldest datum
    that a validation of the certificate's order rests on.  `method` is the challenge type really used.
    With `method` and `validated_*` one and the same validation meets both.
    """

    issuer_id: str = ""
    account_url: str = ""
    binding_kid: str = ""
    spki_sha256: str = ""
    name: str = ""
    profile: str = ""
    method: str = ""
    issued_from: int | None = None
    issued_until: int | None = None
    validated_from: int | None = None
    validated_until: int | None = None

    @property
    def open(self) -> bool:
        """Whether it selects everything."""
        return self == Selection()

    @property
    def of_validations(self) -> bool:
        """Whether it says nothing of certificates, but of validations and who asked for them."""
        words = (self.issuer_id, self.spki_sha256, self.name, self.profile)
        times = (self.issued_from, self.issued_until)
        return not self.open and not any(words) and all(each is None for each in times)

    @property
    def only_issuer(self) -> bool:
        """Whether the issuing CA is the one criterion."""
        return bool(self.issuer_id) and self == Selection(issuer_id=self.issuer_id)


@dataclass(frozen=True, slots=True)
class Page:
    """The next certificates: `serials` of those valid now and not revoked, then the others.

    `signing` are being signed: each of them is a certificate soon, or never.  Go on with `after`, until it is
    not below the `until` that was asked for.
    """

    serials: tuple[bytes, ...]
    revoked: tuple[bytes, ...]
    expired: tuple[bytes, ...]
    signing: tuple[bytes, ...]
    after: int


def newest(rows: Rows) -> int:
    """The row up to which a selection that begins now looks."""
    row = rows.one("SELECT MAX(rowid) FROM certificates")
    assert row is not None
    return int(row[0] or 0)


def extent(rows: Rows, selection: Selection) -> int:
    """The same, once it is certain that what the selection names is there.

    A word that is mistyped selects nothing, and nobody would notice.  Raises `Refused`.
    """
    named = (
        ("issuing CA", selection.issuer_id, "SELECT 1 FROM issuers WHERE id = ?", "`status` lists their ids"),
        (
            "account",
            selection.account_url,
            "SELECT 1 FROM accounts WHERE url = ?",
            "give its whole URL, https://…/acme/account/…",
        ),
        (
            "external account key",
            selection.binding_kid,
            "SELECT 1 FROM binding_keys WHERE kid = ?",
            "`acme-server eab list` shows them",
        ),
    )
    for what, value, sql, remedy in named:
        if value and rows.one(sql, (value,)) is None:
            raise Refused("selection.unknown", f"there is no {what} {value!r}: {remedy}")
    return newest(rows)


def page(rows: Rows, selection: Selection, after: int, until: int, now: int) -> Page:
    """The page behind row `after` (0 at first), of certificates up to row `until`."""
    last = min(after + SCAN, until)
    conditions, parameters = _conditions(selection)
    found = rows.all(
        "SELECT c.serial, c.not_after, c.state = 'reserved' AS signing, r.serial IS NOT NULL AS revoked"
        " FROM certificates c"
        " LEFT JOIN revocations r ON r.serial = c.serial"
        " WHERE c.rowid > ? AND c.rowid <= ? AND c.state <> 'abandoned'"
        # A colon marks the vault's own names: OCSP responders.
        f" AND instr(c.id, ':') = 0{conditions} ORDER BY c.rowid",
        (after, last, *parameters),
    )
    signing = tuple(row["serial"] for row in found if row["signing"])
    there = [row for row in found if not row["signing"]]
    revoked = tuple(row["serial"] for row in there if row["revoked"])
    expired = tuple(row["serial"] for row in there if not row["revoked"] and row["not_after"] < now)
    serials = tuple(row["serial"] for row in there if not row["revoked"] and row["not_after"] >= now)
    return Page(serials, revoked, expired, signing, last)


def newest_authorization(rows: Rows) -> int:
    """The same of authorizations."""
    row = rows.one("SELECT MAX(rowid) FROM authorizations")
    assert row is not None
    return int(row[0] or 0)


def authorizations(
    rows: Rows, selection: Selection, after: int, until: int, now: int
) -> tuple[tuple[str, ...], int]:
    """The valid authorizations behind row `after` that rest on such a validation, and where to go on.

    `AT_ONCE` of them at most, each with orders that end with it.
    None when the selection is about certificates: which validations it is about, these tell then.
    """
    last = min(after + SCAN, until)
    if not selection.of_validations:
        return (), until
    whose = "(SELECT id FROM accounts WHERE"
    conditions = list(_validation(selection))
    if selection.account_url:
        conditions.append((f"z.account_id IN {whose} url = ?)", selection.account_url))
    if selection.binding_kid:
        conditions.append((f"z.account_id IN {whose} binding_kid = ?)", selection.binding_kid))
    tests = "".join(f" AND {sql}" for sql, _ in conditions)
    found = rows.all(
        "SELECT z.id, z.rowid AS at FROM authorizations z"
        f" WHERE z.rowid > ? AND z.rowid <= ? AND z.status = 'valid' AND z.expires > ?{tests}"
        " ORDER BY z.rowid LIMIT ?",
        (after, last, now, *(value for _, value in conditions), AT_ONCE),
    )
    return tuple(row["id"] for row in found), last if len(found) < AT_ONCE else found[-1]["at"]


def unreliable(rows: Rows, selection: Selection, serial: bytes, now: int) -> list[str]:
    """The valid authorizations of the certificate `serial` whose validation meets the selection."""
    conditions = list(_validation(selection))
    tests = "".join(f" AND {sql}" for sql, _ in conditions)
    found = rows.all(
        "SELECT z.id FROM certificates c JOIN order_authorizations o ON o.order_id = c.request_id"
        " JOIN authorizations z ON z.id = o.authorization_id"
        f" WHERE c.serial = ? AND z.status = 'valid' AND z.expires > ?{tests}",
        (serial, now, *(value for _, value in conditions)),
    )
    return [row["id"] for row in found]


def _conditions(selection: Selection) -> tuple[str, list[str | int | bytes]]:
    parts, parameters = [], []
    for sql, value in _criteria(selection):
        parts.append(f" AND {sql}")
        parameters.append(value)
    validation = list(_validation(selection))
    if validation:
        tests = " AND ".join(sql for sql, _ in validation)
        parts.append(
            " AND EXISTS (SELECT 1 FROM order_authorizations o JOIN authorizations z"
            f" ON z.id = o.authorization_id WHERE o.order_id = c.request_id AND {tests})"
        )
        parameters += [value for _, value in validation]
    return "".join(parts), parameters


def _criteria(selection: Selection) -> Iterator[tuple[str, str | int | bytes]]:
    if selection.issuer_id:
        yield "c.issuer_id = ?", selection.issuer_id
    if selection.account_url:
        yield "c.account_url = ?", selection.account_url
    if selection.binding_kid:
        yield "c.account_url IN (SELECT url FROM accounts WHERE binding_kid = ?)", selection.binding_kid
    if selection.spki_sha256:
        yield "c.spki_sha256 = ?", bytes.fromhex(selection.spki_sha256)
    if selection.name:
        yield "EXISTS (SELECT 1 FROM json_each(c.names) WHERE '.' || value LIKE ?)", f"%.{selection.name}"
    if selection.profile:
        yield "c.profile = ?", selection.profile
    if selection.issued_from is not None:
        yield "COALESCE(c.signed_at, c.created_at) >= ?", selection.issued_from
    if selection.issued_until is not None:
        yield "COALESCE(c.signed_at, c.created_at) < ?", selection.issued_until


def _validation(selection: Selection) -> Iterator[tuple[str, str | int | bytes]]:
    if selection.method:
        yield "z.method = ?", selection.method
    if selection.validated_from is not None:
        yield "z.oldest_datum >= ?", selection.validated_from
    if selection.validated_until is not None:
        yield "z.oldest_datum < ?", selection.validated_until
