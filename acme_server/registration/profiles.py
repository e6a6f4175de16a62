"""Which certificate profile an order has: what is advertised, what is chosen, what is refused.

A client names a profile of the directory's `meta.profiles`; an order that names none has the first profile of
the settings that may hold its identifiers.  What was chosen stands in the order and never changes.

Must never: let an order go on under a profile that is gone, or that the rules of the day forbid.

draft-ietf-acme-profiles-00; BR 6.3.2, 7.1.2.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acme_server.exchange import text
from acme_server.problems import ErrorType, malformed, refusal
from core.errors import Problem
from core.identifiers import DNS, IP, type_of
from core.requirements import DAY
from core.settings import Profile, Settings
from core.today import profile_refusals

_WORDS = {DNS: "DNS names", IP: "IP addresses"}


def advertised(settings: Settings) -> dict[str, str]:
    """The directory's `meta.profiles` (section 3): the description of each profile that is offered."""
    return {
        name: profile.description or _description(profile)
        for name, profile in settings.profiles.items()
        if profile.offered
    }


def chosen(members: Mapping[str, Any], names: Iterable[str], settings: Settings, now: int) -> str:
    """The profile of a new order for `names` (section 4).

    Raises `Problem`: invalidProfile for one that is not offered or does not fit, unsupportedIdentifier or
    malformed when none was named and none fits.
    """
    if "profile" in members:
        named = text(members, "profile")
        must_fit(named, names, settings, now)
        return named
    types = {type_of(name) for name in names}
    offered = _offered(settings, now)
    for name, profile in offered.items():
        if types.issubset(profile.identifiers):
            return name
    for each in sorted(types):
        if not _holding(each, offered):
            raise refusal(ErrorType.UNSUPPORTED_IDENTIFIER, f"{_WORDS[each]} are not certified here")
    raise malformed("no profile holds DNS names and IP addresses together: place an order for each kind")


def must_fit(name: str, names: Iterable[str], settings: Settings, now: int, *, new: bool = True) -> None:
    """The profile can be had at `now` for such identifiers, by a `new` order or one that has it already.

    Raises `Problem` (invalidProfile).
    """
    offered = _offered(settings, now)
    serving = offered if new else _allowed(settings, now)
    if name not in serving:
        others = ", ".join(offered) or "none at present"
        raise invalid(f"profile {name[:32]!r} is not offered; place a new order under one of these: {others}")
    for each in names:
        if (kind := type_of(each)) not in serving[name].identifiers:
            others = ", ".join(_holding(kind, offered)) or "none"
            raise invalid(
                f"profile {name!r} certifies no {_WORDS[kind]}, and {each} is one; these do: {others}"
            )


def invalid(detail: str) -> Problem:
    """The one problem type that the draft registers (its section 6.3)."""
    return refusal(ErrorType.INVALID_PROFILE, detail)


def _offered(settings: Settings, now: int) -> dict[str, Profile]:
    return {name: each for name, each in _allowed(settings, now).items() if each.offered}


def _allowed(settings: Settings, now: int) -> dict[str, Profile]:
    """What the rules of the day allow: the others stay in the directory until a person has mended them."""
    forbidden = profile_refusals(settings, now)
    return {name: each for name, each in settings.profiles.items() if name not in forbidden}


def _holding(kind: str, offered: Mapping[str, Profile]) -> list[str]:
    return [name for name, profile in offered.items() if kind in profile.identifiers]


def _description(profile: Profile) -> str:
    """A sentence that a person can choose by."""
    use = "TLS server and client" if profile.client_auth else "TLS server"
    what = " and ".join(_WORDS[each] for each in profile.identifiers)
    whole = profile.validity % DAY == 0
    life = f"{profile.validity // DAY} days" if whole else f"{profile.validity} seconds"
    missing = [name for name, there in (("OCSP", profile.ocsp), ("CRL", profile.crl)) if not there]
    without = f", without {' and '.join(missing)}" if missing else ""
    return f"{use} certificates for {what}, valid for {life}{without}"
