"""Which certificates have to be revoked or renewed together: by issuing CA, account, key, method and time.

A register has millions of rows, so a selection is looked at in pages of a bounded number of rows; between two
pages everybody else is served.

Must never: select what no subscriber has (the vault's own OCSP responders, serial numbers whose key was never
used).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.database import Rows

SCAN = 5000
"""Rows that one page looks at: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Selection:
    """All that is given must hold; "" and None leave a criterion open.

    `spki_sha256` is hex; times are POSIX seconds, the first included, the last not: `issued_*` of the
    signing, `validated_*` of the oldest datum that a validation of the certificate's order rests
    on.  `method` is the challenge type really used.  With `method` and `validated_*` one and the same
    validation meets both.
    """

    issuer_id: str = ""
    account_url: str = ""
    binding_kid: str = ""
    spki_sha256: str = ""
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
    def only_issuer(self) -> bool:
        """Whether the issuing CA is the one criterion."""
        return bool(self.issuer_id) and self == Selection(issuer_id=self.issuer_id)


@dataclass(frozen=True, slots=True)
class Page:
    """The next certificates: `serials` of those valid now and not revoked, then the others.

    Go on with `after`, until it is not below the `until` that was asked for.
    """

    serials: tuple[bytes, ...]
    revoked: tuple[bytes, ...]
    expired: tuple[bytes, ...]
    after: int


def newest(rows: Rows) -> int:
    """The row up to which a selection that begins now looks."""
    row = rows.one("SELECT MAX(rowid) FROM certificates")
    assert row is not None
    return int(row[0] or 0)


def page(rows: Rows, selection: Selection, after: int, until: int, now: int) -> Page:
    """The page behind row `after` (0 at first), of certificates up to row `until`."""
    last = min(after + SCAN, until)
    conditions, parameters = _conditions(selection)
    found = rows.all(
        "SELECT c.serial, c.not_after, r.serial IS NOT NULL AS revoked FROM certificates c"
        " LEFT JOIN revocations r ON r.serial = c.serial"
        " WHERE c.rowid > ? AND c.rowid <= ? AND c.state NOT IN ('reserved', 'abandoned')"
        # A colon marks the vault's own names: OCSP responders.
        f" AND instr(c.id, ':') = 0{conditions} ORDER BY c.rowid",
        (after, last, *parameters),
    )
    revoked = tuple(row["serial"] for row in found if row["revoked"])
    expired = tuple(row["serial"] for row in found if not row["revoked"] and row["not_after"] < now)
    serials = tuple(row["serial"] for row in found if not row["revoked"] and row["not_after"] >= now)
    return Page(serials, revoked, expired, last)


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
