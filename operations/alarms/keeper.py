"""How the OCSP answers that are signed ahead are: metrics, health and the lines of `acme-server status`.

Reads what the keeper says of itself (status/keeper_state.py); it is another process, and may be dead.

Must never: call answers well that nobody looks after.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prometheus_client import Gauge

from core.data_directory import DataDirectory
from core.metrics import REGISTRY
from core.settings import Settings
from status import keeper_state

ANSWERS = Gauge("acme_ocsp_answers", "OCSP answers signed ahead.", registry=REGISTRY)
AGE = Gauge("acme_ocsp_oldest_seconds", "Age of the oldest of them.", registry=REGISTRY)
LEFT = Gauge("acme_ocsp_left_seconds", "Until the first of them passes its nextUpdate.", registry=REGISTRY)
OVERDUE = Gauge("acme_ocsp_overdue", "Those that should have been renewed.", registry=REGISTRY)
REFUSED = Gauge("acme_ocsp_refused", "Those that the vault does not make or renew.", registry=REGISTRY)
WAITING = Gauge("acme_ocsp_waiting", "New serials that have no answer yet.", registry=REGISTRY)
SILENT = Gauge("acme_ocsp_keeper_silent_seconds", "Since the keeper's last word.", registry=REGISTRY)


def measure(data: DataDirectory, now: int) -> None:
    """Set the metrics to the keeper's last word; before its first one there is nothing to say."""
    state = keeper_state.read(data.keeper_state)
    if state is not None:
        ANSWERS.set(state.answers)
        AGE.set(now - state.oldest)
        LEFT.set(state.until - now if state.until else 0)
        OVERDUE.set(state.overdue)
        REFUSED.set(state.refused)
        WAITING.set(state.waiting)
        SILENT.set(now - state.at)


def alarm(data: DataDirectory, settings: Settings, now: int) -> str:
    """What a person must look at, "" when all is well or the keeper has not begun."""
    state = keeper_state.read(data.keeper_state)
    return "" if state is None else state.alarm(settings.status, now)


def report(data: DataDirectory, settings: Settings, now: int) -> dict[str, Any]:
    """For `acme-server status`: `says` one line, `alarm` what is wrong, the rest for programs."""
    state = keeper_state.read(data.keeper_state)
    if state is None:
        return {"says": "none signed ahead yet", "alarm": ""}
    first = f"{datetime.fromtimestamp(state.until, UTC):%Y-%m-%d %H:%M} UTC" if state.until else "none"
    says = (
        f"{state.answers} signed ahead, the oldest {(now - state.oldest) // 3600} h old, "
        f"first nextUpdate {first}"
    )
    return {
        "answers": state.answers,
        "oldest": state.oldest,
        "until": state.until,
        "overdue": state.overdue,
        "refused": state.refused,
        "waiting": state.waiting,
        "says": says,
        "alarm": state.alarm(settings.status, now),
    }
