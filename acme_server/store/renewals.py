"""What ARI needs to know of a certificate, in one look (RFC 9773), and of the orders that replace it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from acme_server import renewal_window
from acme_server.cert_id import CertId
from acme_server.renewal_window import Window
from core.database import Row, Rows
from core.issuer_causes import RENEW_WITHIN
from core.issuers import key_id
from core.settings import Renewal

EARLY = 86400
"""Seconds: a client that wakes once a day renews up to so long before the time that it chose in the window
(RFC 9773 section 4.2, step 5)."""

_names = msgspec.json.Decoder(tuple[str, ...]).decode


@dataclass(frozen=True, slots=True)
class Renewable:
    """A certificate that an account has.

    `due` is the window by its life, by an open incident or by its issuing CA that must be revoked, whichever
    ends first; once that CA is revoked it lies in the past, since nobody trusts the certificate any more.
    From `free_from` on no rate limit holds a renewal up.  `urgent`: an incident or its issuing CA wants it
    replaced; `explanation_url` "" for none.  `revoked_at` None: it is not.
    `incidents` tells whether anything of the kind is open, this certificate's or not.  `chosen_life` means
    that its order asked for a notBefore or notAfter of its own.
    """

    id: str
    account_url: str
    names: tuple[str, ...]
    not_after: int
    due: Window
    free_from: int
    revoked_at: int | None
    urgent: bool
    explanation_url: str
    incidents: bool
    chosen_life: bool

    @property
    def window(self) -> Window:
        """What clients are told."""
        return self.due if self.revoked_at is None else renewal_window.of_revoked(self.revoked_at)


def find(rows: Rows, cert_id: CertId, settings: Renewal) -> Renewable | None:
    """The certificate with this name; None when no account was ever issued such a one."""
    row = rows.one(_FIND, (cert_id.serial,))
    if row is None or key_id(row["issuer"]) != cert_id.key_id:
        return None
    due = renewal_window.of_life(cert_id.serial, row["not_before"], row["not_after"], settings)
    free_from = due.start - min(EARLY, (row["not_after"] - row["not_before"]) // 10)
    if row["incident"] is not None:
        due = min(due, _of_incident(row, cert_id.serial), key=lambda window: window.end)
        free_from = min(free_from, row["added_at"])
    explanation = row["explanation_url"] or ""
    if row["cause_at"] is not None:
        by_issuer = _of_issuer(row, cert_id.serial)
        if by_issuer.end < due.end:
            due, explanation = by_issuer, row["cause_url"] or explanation
        free_from = min(free_from, row["cause_at"])
    return Renewable(
        id=row["id"],
        account_url=row["account_url"],
        names=_names(row["names"]),
        not_after=row["not_after"],
        due=due,
        free_from=free_from,
        revoked_at=row["revoked_at"],
        urgent=row["incident"] is not None or row["cause_at"] is not None,
        explanation_url=explanation,
        incidents=bool(row["incidents"]),
        chosen_life=bool(row["chosen_life"]),
    )


def _of_incident(row: Row, serial: bytes) -> Window:
    return renewal_window.of_incident(serial, row["incident"], row["added_at"], row["renew_by"])


def _of_issuer(row: Row, serial: bytes) -> Window:
    """Alike for all who ask: spread over half of the time, like an incident that takes all of the CA's."""
    if row["issuer_revoked_at"] is not None:
        return renewal_window.of_revoked(row["issuer_revoked_at"])
    renew_by = row["learned_at"] + RENEW_WITHIN
    return renewal_window.of_incident(serial, f"issuer {row['issuer_id']}", row["cause_at"], renew_by)


# Of several open incidents the most urgent one counts.  Every part is a look-up by a key or in a table of a
# few rows.
_FIND = """
SELECT c.id, c.account_url, c.names, c.not_before, c.not_after, i.certificate AS issuer, r.revoked_at,
  n.id AS incident, n.explanation_url, n.renew_by, s.added_at,
  c.issuer_id, k.recorded_at AS cause_at, k.learned_at, k.ended_at AS issuer_revoked_at,
  k.explanation_url AS cause_url,
  (EXISTS (SELECT 1 FROM incidents WHERE closed_at IS NULL)
    OR EXISTS (SELECT 1 FROM issuer_causes WHERE ended_at IS NULL)) AS incidents,
  (o.not_before IS NOT NULL OR o.not_after IS NOT NULL) AS chosen_life
FROM certificates c
JOIN issuers i ON i.id = c.issuer_id
LEFT JOIN revocations r ON r.serial = c.serial
LEFT JOIN orders o ON o.id = c.request_id
LEFT JOIN incidents n ON n.id = (
  SELECT m.id FROM incident_serials t JOIN incidents m ON m.id = t.incident_id
  WHERE t.serial = c.serial AND m.closed_at IS NULL ORDER BY m.renew_by, m.id LIMIT 1)
LEFT JOIN incident_serials s ON s.serial = c.serial AND s.incident_id = n.id
LEFT JOIN issuer_causes k ON k.id = (
  SELECT MAX(w.id) FROM issuer_causes w
  WHERE w.issuer_id = c.issuer_id AND (w.ended_at IS NULL OR w.revoked))
WHERE c.serial = ? AND c.account_url IS NOT NULL AND c.state IN ('precertified', 'issued', 'lost')
""".strip()
