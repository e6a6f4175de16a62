"""An OCSP answer as it leaves, and the unsigned ones that tell of an error (RFC 6960 2.3 and 4.2.1)."""

from __future__ import annotations

from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp


class Answer(NamedTuple):
    """An OCSPResponse, DER.  Times are POSIX seconds, and None for the unsigned errors.

    `young`: a certificate was revoked, or may have been, so shortly before that a "good" answer has the same
    thisUpdate.  A tuple, since a frozen dataclass takes three times as long to make.
    """

    der: bytes
    this_update: int | None = None
    next_update: int | None = None
    etag: str = ""
    young: bool = False


def _error(status: ocsp.OCSPResponseStatus) -> Answer:
    return Answer(ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER))


MALFORMED = _error(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
INTERNAL_ERROR = _error(ocsp.OCSPResponseStatus.INTERNAL_ERROR)
TRY_LATER = _error(ocsp.OCSPResponseStatus.TRY_LATER)
UNAUTHORIZED = _error(ocsp.OCSPResponseStatus.UNAUTHORIZED)
"""For serial numbers of which we say nothing (RFC 9919 section 3.2.3): "good" would be a lie."""
