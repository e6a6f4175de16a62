"""What is recorded of a token at its ceremony, and compared at every start.

CPS 6.2.1, 6.2.11; BR 6.2.7.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a token and its module say of themselves; `certificate` ("FIPS 140-3 #4xxx") is the operator's."""

    manufacturer: str
    model: str
    serial: str
    firmware: str
    module: str
    module_sha256: str
    certificate: str = ""
