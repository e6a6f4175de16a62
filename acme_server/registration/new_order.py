"""What newOrder asks for, read and judged by itself: before any row, limit or other order is looked at.

RFC 8555 section 7.4; draft-ietf-acme-profiles-00; RFC 9773 section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acme_server import cert_id
from acme_server.cert_id import CertId
from acme_server.exchange import array, text
from acme_server.registration import identifiers, profiles, validity
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order that could be placed.

    `names` are as the certificate will carry them; `profile` is a name of `[profiles.*]`; `not_before` and
    `not_after` POSIX seconds, None for the profile's own; `replaces` names the certificate that
    it renews, None for a new one.
    """

    names: tuple[str, ...]
    profile: str
    not_before: int | None = None
    not_after: int | None = None
    replaces: CertId | None = None


def read(members: Mapping[str, Any], settings: Settings, now: int) -> Wanted:
    """The order that the payload asks for at `now`.  Raises `Problem`."""
    names = identifiers.check(array(members, "identifiers"), settings)
    profile = profiles.chosen(members, names, settings, now)
    wish = validity.read(members)
    validity.must_hold(wish, profile, settings.profiles[profile].validity, now, named="profile" in members)
    replaces = cert_id.read(text(members, "replaces")) if "replaces" in members else None
    return Wanted(names, profile, wish.not_before, wish.not_after, replaces)
