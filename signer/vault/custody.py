"""The custody classes of a private key in a token: what its attributes must say of it.

CPS 6.2.1, 6.2.6; BR 6.2; PKCS#11 v2.40 section 4.9.
"""

from __future__ import annotations

from enum import StrEnum


class Custody(StrEnum):
    """`sealed` never leaves its token; `wrapped` may be wrapped by a trusted key, to be backed up."""

    SEALED = "sealed"
    WRAPPED = "wrapped"
