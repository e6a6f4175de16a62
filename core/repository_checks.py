"""What must hold of the settings of the repository: manifest, problem reports, planned maintenance."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from core.refusal import wrong
from core.settings import Settings

LONGEST_VALIDITY = 30 * 86400
"""Seconds: a manifest says what is; one that is older says what was."""

SHORTEST_REFRESH = 10
"""Seconds: each manifest is a signature and a line in the vault's journal."""

MAX_KEYS = 2
"""One, and its successor."""

LEAST_PERSONAL_DATA, MOST_PERSONAL_DATA = 86400, 730 * 86400
"""Seconds after a report was closed: long enough to answer a question about it, and no archive."""

_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_LABEL = re.compile(r"manifest-[a-z0-9-]{1,32}")


def maintenance(settings: Settings) -> tuple[datetime, ...]:
    """From when until when maintenance is planned, UTC; () for none.  Raises: `ConfigurationError`."""
    planned = settings.repository.maintenance
    if not planned:
        return ()
    remedy = 'write FROM/UNTIL in UTC, like "2026-12-05T01:00Z/2026-12-05T02:00Z"'
    try:
        start, end = (datetime.fromisoformat(each) for each in planned.split("/"))
    except ValueError as error:
        raise wrong("repository.maintenance", planned, remedy) from error
    if start.utcoffset() != timedelta() or end.utcoffset() != timedelta() or start >= end:
        raise wrong("repository.maintenance", planned, remedy)
    return start, end


def undated(settings: Settings) -> None:
    """Require what holds at any time.  Raises: `ConfigurationError` for the first thing that does not."""
    repository, labels = settings.repository, settings.vault.manifest_keys
    if not 0 < repository.manifest_validity <= LONGEST_VALIDITY:
        raise wrong(
            "repository.manifest_validity", repository.manifest_validity, "write seconds, 30 days at most"
        )
    if not SHORTEST_REFRESH <= repository.manifest_refresh < repository.manifest_validity:
        raise wrong(
            "repository.manifest_refresh",
            repository.manifest_refresh,
            f"write {SHORTEST_REFRESH} seconds or more, and less than repository.manifest_validity "
            f"({repository.manifest_validity}), or monitors see a gap",
        )
    if not LEAST_PERSONAL_DATA <= repository.report_personal_data <= MOST_PERSONAL_DATA:
        raise wrong(
            "repository.report_personal_data",
            repository.report_personal_data,
            "write seconds, from a day to 730 days: what is evidence stays without it",
        )
    maintenance(settings)
    if not 0 < len(labels) <= MAX_KEYS or len(set(labels)) != len(labels):
        raise wrong("vault.manifest_keys", list(labels), "name one key, or two while the first is replaced")
    for pin in repository.manifest_pins:
        if not _THUMBPRINT.fullmatch(pin):
            raise wrong(
                "repository.manifest_pins",
                pin,
                "that is no thumbprint: `acme-server repository key` prints them, 43 characters each",
            )
    if len(repository.manifest_pins) > len(labels) or len(set(repository.manifest_pins)) != len(
        repository.manifest_pins
    ):
        raise wrong(
            "repository.manifest_pins",
            list(repository.manifest_pins),
            f"each is of another key, and vault.manifest_keys names {len(labels)}: what the CP/CPS states "
            "must sign, so a new version of it comes before a key goes",
        )
    for label in labels:
        if not _LABEL.fullmatch(label):
            raise wrong(
                "vault.manifest_keys",
                label,
                'a label begins with "manifest-", as the vault keeps those for itself',
            )
