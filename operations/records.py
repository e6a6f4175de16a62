"""What operations itself writes into the audit log: starts, stops, and every change of a setting (CPS 5.4.1).

Must never: record a secret; the settings hold paths of secrets only.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from core.database import Rows, Transaction
from core.settings import Settings

SETTINGS = "settings"


def record_start(tx: Transaction, settings: Settings) -> None:
    """The start, and what differs from the settings of the start before."""
    now = flat(asdict(settings))
    before = recorded_settings(tx)
    if now != before:
        changed = {
            key: [None if before is None else before.get(key), now.get(key)]
            for key in sorted(now.keys() | (before or {}).keys())
            if before is None or before.get(key) != now.get(key)
        }
        tx.audit(SETTINGS, "operator", {"settings": now, "changed": {} if before is None else changed})
    tx.audit("start", "app", {})


def record_stop(tx: Transaction) -> None:
    """An orderly stop; a start without a stop before it tells of a crash."""
    tx.audit("stop", "app", {})


def recorded_settings(rows: Rows) -> dict[str, Any] | None:
    """The settings last recorded, flat; None at the first start."""
    row = rows.one("SELECT content FROM audit WHERE kind = ? ORDER BY sequence DESC LIMIT 1", (SETTINGS,))
    if row is None:
        return None
    found: dict[str, Any] = json.loads(row["content"])["settings"]
    return found


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"acme.listen": [...], ...}, as JSON would give it back."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = json.loads(json.dumps(value))
    return found
