"""The audit log: hash-chained records, appended in the transaction of the act that they tell of.

CPS 5.4.1, 5.4.4; BR 5.4.1.  Edit, deletion, reordering and truncation in the middle are found by `verify`.
"""

from __future__ import annotations

import sqlite3
from typing import Any


class AuditChain:
    """The head of the chain, kept by the one writer; rolls back with its unit."""

    def append(
        self, connection: sqlite3.Connection, at: int, kind: str, subject: str, content: dict[str, Any]
    ) -> None:
        """Append one record."""
        raise NotImplementedError
