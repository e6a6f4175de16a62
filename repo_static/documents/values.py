"""The values in the documents' texts: from the settings, the rules by date, the tables that the code obeys.

Must never: hold a number of its own.

BR 1.2.2 (dates), 3.2.2.4, 4.9.1.1, 6.1.5; requirements 1.10.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from core import quorum
from core.causes import DAY, REASONS, RULES, SUBSCRIBERS
from core.methods import METHODS
from core.public_keys import CURVES, RSA_EXPONENTS, RSA_SIZES
from core.requirements import TABLE, Limit
from core.settings import CtMode, Settings
from core.sites import sites
from repo_static.rendering import CONTENT

_RULES_SINCE = int(datetime(2026, 3, 15, tzinfo=UTC).timestamp())
"""Older rows of the table bind nobody any more."""


def of(settings: Settings, language: str) -> dict[str, Any]:
    """By the names that the templates use."""
    status = settings.status
    return {
        "methods": {name: METHODS[name] for name in settings.validation.methods},
        "remotes": settings.validation.perspectives[1:],
        "quorum": quorum,
        "rules": _rules,
        "limit": _limit,
        "causes": [
            {
                "number": rule.number,
                "says": _words()["cause"][cause] if language == "ja" else rule.says,
                "reason": REASONS[rule.reason],
                "hours": rule.within // 3600,
            }
            for cause, rule in sorted(RULES.items(), key=lambda item: item[1].number)
        ],
        "first_hours": DAY // 3600,
        "reasons": [word for code, word in REASONS.items() if code],
        "subscriber_reasons": [word for code, word in SUBSCRIBERS.items() if code],
        "rsa_sizes": RSA_SIZES,
        "rsa_exponents": (RSA_EXPONENTS.start, RSA_EXPONENTS.stop.bit_length() - 1),
        "curves": [_nist(name) for name in CURVES],
        "ct": settings.ct.mode is CtMode.ON,
        "sites": sites(settings),
        "shards": dict(sorted(status.issuer_crl_shards.items())),
        "sharded": any(each > 1 for each in (status.crl_shards, *status.issuer_crl_shards.values())),
        "certifies": _certifies(settings),
    }


def _rules(name: str) -> list[tuple[str, int]]:
    """(day, value) of each row that binds or will: "2027-03-15", 8640000."""
    rows = TABLE[Limit(name)]
    current = [row for row in rows if row.since > _RULES_SINCE] or []
    first = [row for row in rows if row.since <= _RULES_SINCE][-1:]
    return [(f"{datetime.fromtimestamp(row.since, UTC):%Y-%m-%d}", row.value) for row in (*first, *current)]


def _limit(name: str) -> int:
    """The only value of a limit that no date changes."""
    ((_, value),) = _rules(name)
    return value


def _certifies(settings: Settings) -> Callable[[str], bool]:
    """Whether an identifier type is certified by any profile."""
    types = {each for profile in settings.profiles.values() for each in profile.identifiers}
    return types.__contains__


def _nist(name: str) -> str:
    """ "P-256" of "secp256r1"."""
    return f"P-{name.removeprefix('secp').removesuffix('r1')}"


@cache
def _words() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((CONTENT / "documents.toml").read_text(encoding="utf-8"))["ja"]
    return found
