"""What the index of OCSP answers knows and the register has forgotten: a revocation that was said.

Must never: believe an answer that our own responder did not sign.

RFC 6960 section 4.2; BR 4.9.10.
"""

from __future__ import annotations

import logging

from core import revocations
from core.database import Rows
from core.errors import Refused
from status.ocsp.index.index import Index
from status.ocsp.index.records import serial_of, together
from status.restored import outside
from status.restored.outside import Said
from status.restored.put_back import is_missing

_log = logging.getLogger(__name__)


def is_ahead(index: Index, rows: Rows) -> bool:
    """Whether it was made from a revocation version to which the register has not come."""
    return index.version > revocations.version(rows)


def revoked(index: Index) -> list[bytes]:
    """An answer in DER for each serial number that it says is revoked; it may hold millions."""
    found = {serial_of(each.key): (frame, each) for frame, each in index.all() if each.version}
    return [together(*kept) for kept in found.values()]


def forgotten(rows: Rows, answers: list[bytes]) -> list[Said]:
    """Those that the register lacks."""
    found = []
    for der in answers:
        try:
            said = outside.answer(rows, der)
        except Refused as error:
            _log.error("an answer in the index is no evidence: %s", error)
            continue
        if is_missing(rows, said):
            found.append(said)
    return found
