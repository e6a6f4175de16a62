"""The names of CT logs, for the SCTs on the status page: from the log list that the settings name.

Must never: leave an SCT out because its log is not known; keep a page waiting for a list.

RFC 6962 section 3.2 (LogID).
"""

from __future__ import annotations

from core.clock import Clock
from core.errors import TransientError
from core.settings import Ct
from signer.ct.log_list import LogList, LogLists


class LogNames:
    """What people call a log, and who runs it."""

    def __init__(self, settings: Ct, clock: Clock) -> None:
        self._lists = LogLists(settings, clock) if settings.log_list else None
        self._read: LogList | None = None
        self._known: dict[bytes, tuple[str, str]] = {}

    def of(self, id: bytes) -> tuple[str, str]:
        """Name and operator of the log; "" and "" where no list knows it."""
        if self._lists is None:
            return "", ""
        try:
            current = self._lists.current()
        except TransientError:  # without a list the SCTs are shown all the same
            return "", ""
        if current is not self._read:
            self._read = current
            self._known = {each.id: (each.name, each.operator) for each in current.logs}
        return self._known.get(id, ("", ""))
