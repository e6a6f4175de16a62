"""Opens and closes incidents: their certificates' windows move, so that clients renew before it is too late.

The certificates come in pages; each is one transaction and one record in the audit log, and what is in stays
in when the page is repeated.

Must never: put in what no subscriber has; move a window without a word in the audit log.

RFC 9773 sections 1, 4.2; BR 5.7.1.2 (mass revocation).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from acme_server.store import incidents, selection
from acme_server.store.incidents import Incident
from acme_server.store.selection import Selection
from core import revocations
from core.database import Transaction
from core.errors import Refused

MAX_TITLE = 200
"""Characters."""

MAX_URL = 1000
"""Characters of the explanation's URL, which is in every answer."""

_URL = re.compile(r"https?://[A-Za-z0-9\[][!-~]*")
"""Nothing in it that is no character of a URL: terminals and pages show it as it is."""


@dataclass(frozen=True, slots=True)
class Page:
    """`added` certificates; `already` were there, `ended` are revoked or expired, `unknown` are none of ours.

    Go on with `after` while it is below `until`.
    """

    added: int
    already: int
    ended: int
    unknown: int
    after: int = 0
    until: int = 0


def begin(tx: Transaction, incident: Incident) -> Incident:
    """Open it.  Raises `Refused`; nothing changes then."""
    title, url = incident.title, incident.explanation_url
    if not title or len(title) > MAX_TITLE or not title.isprintable():
        raise Refused("incident.title", f"a title says what it is about, in 1 to {MAX_TITLE} characters")
    must_be_url(url)
    if incident.renew_by <= tx.now:
        raise Refused(
            "incident.renew-by",
            "this time is over: name the time by which clients must have renewed. What must be gone at once "
            "is revoked, and its window is in the past by that",
        )
    incidents.insert(tx, incident)
    tx.audit(
        "incident.opened",
        f"operator {incident.opened_by}",
        {"incident": incident.id, "title": title, "explanation": url, "renew_by": incident.renew_by},
    )
    return incident


def must_be_url(url: str) -> None:
    """Of an explanation for subscribers; "" is none.  Raises `Refused`."""
    if url and (len(url) > MAX_URL or not _URL.fullmatch(url)):
        raise Refused(
            "incident.url", f"{url!r} is no URL of a page for subscribers, like https://ca.example/2026-12"
        )


def name(tx: Transaction, incident_id: str, serials: Sequence[bytes], actor: str) -> Page:
    """Put these certificates in.  Raises `Refused`."""
    _open(tx, incident_id)
    found = [revocations.status_of(tx, serial) for serial in serials]
    known = [each for each in found if each is not None]
    living = [each.serial for each in known if each.revocation is None and each.not_after >= tx.now]
    added = incidents.add(tx, incident_id, living)
    _record(tx, incident_id, added, actor, {"named": len(serials)})
    return Page(added, len(living) - added, len(known) - len(living), len(found) - len(known))


def choose(tx: Transaction, incident_id: str, chosen: Selection, after: int, until: int, actor: str) -> Page:
    """Put the next page of a selection in; begin with `after` and `until` 0.  Raises `Refused`."""
    _open(tx, incident_id)
    if chosen.open:
        raise Refused("incident.selection", "nothing is chosen: name serial numbers, an account, a key ...")
    until = until or selection.extent(tx, chosen)
    page = selection.page(tx, chosen, after, until, tx.now)
    added = incidents.add(tx, incident_id, page.serials)
    told = {key: value for key, value in asdict(chosen).items() if value not in ("", None)}
    _record(tx, incident_id, added, actor, {"selection": told})
    ended = len(page.revoked) + len(page.expired)
    return Page(added, len(page.serials) - added, ended, 0, page.after, until)


def end(tx: Transaction, incident_id: str, actor: str) -> Incident:
    """Close it.  Raises `Refused`."""
    incident = _open(tx, incident_id)
    incidents.close(tx, incident_id)
    tx.audit(
        "incident.closed", f"operator {actor}", {"incident": incident_id, "certificates": incident.total}
    )
    return known(incidents.by_id(tx, incident_id), incident_id)


def known(incident: Incident | None, incident_id: str) -> Incident:
    """It, when there is such a one.  Raises `Refused`."""
    if incident is None:
        raise Refused(
            "incident.unknown", f"there is no incident {incident_id!r}: `acme-server incident list` shows all"
        )
    return incident


def _open(tx: Transaction, incident_id: str) -> Incident:
    incident = known(incidents.by_id(tx, incident_id), incident_id)
    if incident.closed_at is not None:
        raise Refused("incident.closed", f"incident {incident_id} is closed: open another one")
    return incident


def _record(tx: Transaction, incident_id: str, added: int, actor: str, how: dict[str, object]) -> None:
    if added:
        told = {"incident": incident_id, "certificates": added, **how}
        tx.audit("incident.certificates", f"operator {actor}", told)
