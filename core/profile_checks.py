"""What must hold of each certificate profile, always and by the rules of the day.

A profile that a new rule forbids stops its own orders, not the others' (core/today.py).

draft-ietf-acme-profiles; BR 6.3.2, 7.1.2.7.10, 7.1.2.11.2.
"""

from __future__ import annotations

from core.identifiers import TYPES
from core.refusal import CODE, wrong
from core.requirements import DAY, Limit, row
from core.settings import Profile, Rules, Settings

MAX_DESCRIPTION = 300
"""Characters: clients show it in a line or two."""


LEAST_VALIDITY = 10
"""Seconds: a certificate begins a minute before it is signed (signer/drawing.py), and has to arrive yet."""

MOST_VALIDITY = 20 * 365 * DAY
"""Seconds: no certificate outlives its issuing CA, and no key of one is older (CPS 6.3.2)."""


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    if not settings.profiles:
        raise wrong("profiles", "{}", "add at least one section [profiles.NAME]")
    if not any(profile.offered for profile in settings.profiles.values()):
        raise wrong("profiles", "none offered", "nobody could order anything: offer one, or stop the CA")
    for name, profile in settings.profiles.items():
        if not CODE.fullmatch(name):
            raise wrong("profiles", name, "a profile's name uses a-z, 0-9 and -, at most 32 characters")
        _written(f"profiles.{name}", profile)
        if profile.client_auth and settings.ca.rules is Rules.PUBLIC:
            raise wrong(
                f"profiles.{name}.client_auth",
                "true",
                "public certificates are for servers only: set it to false, or certify clients under a "
                "private hierarchy of its own",
            )


def dated(settings: Settings, name: str, at: int) -> None:
    """Require what the rules of the day ask of the profile `name`.  Raises: `ConfigurationError`.

    Private rules have no dates; under them every profile passes.
    """
    if settings.ca.rules is not Rules.PUBLIC:
        return
    profile = settings.profiles[name]
    revocable = profile.crl or profile.ocsp
    most = row(Limit.LEAF_VALIDITY if revocable else Limit.SHORT_LIVED_VALIDITY, at)
    if profile.validity > most.value:
        instead = "" if revocable else ", or give it ocsp or crl"
        raise wrong(
            f"profiles.{name}.validity",
            profile.validity,
            f"{most.clause} allows {most.value} s ({most.value / DAY:g} d) at most{instead}",
        )


def _written(key: str, profile: Profile) -> None:
    if not LEAST_VALIDITY <= profile.validity <= MOST_VALIDITY:
        raise wrong(
            f"{key}.validity",
            profile.validity,
            f"write {LEAST_VALIDITY} to {MOST_VALIDITY} s: a shorter one is over before it is used, and no "
            "issuing CA outlives a longer one",
        )
    if not profile.identifiers:
        raise wrong(f"{key}.identifiers", "[]", 'list what it may certify: ["dns"], ["ip"] or both')
    for each in profile.identifiers:
        if each not in TYPES:
            raise wrong(f"{key}.identifiers", each, f"this version knows {', '.join(TYPES)}")
        if profile.identifiers.count(each) > 1:
            raise wrong(f"{key}.identifiers", each, "it is listed twice: take one out")
    for issuer in profile.issuers:
        if not CODE.fullmatch(issuer):
            raise wrong(f"{key}.issuers", issuer, "name issuing CAs by their ids, like ec-1")
    if len(profile.description) > MAX_DESCRIPTION or not profile.description.isprintable():
        raise wrong(
            f"{key}.description",
            repr(profile.description[:40]),
            f"write one line of {MAX_DESCRIPTION} characters",
        )
