"""What `cryptography` raises for octets that are no certificate, CRL or OCSP answer, or one that is damaged.

Much of it is read only when it is asked for, and says so by many exceptions, few of which are ValueErrors.

Must never: be caught around anything but reading.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE = (
    *(ValueError, TypeError, IndexError, UnsupportedAlgorithm, x509.DuplicateExtension),
    *(x509.ExtensionNotFound, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
