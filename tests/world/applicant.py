"""The applicant for whom the world's hosts answer: one account, one token, known to everybody."""

from __future__ import annotations

import base64
from hashlib import sha256

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
ATTACKER = "x" * 43
"""The thumbprint of the attacker's account key."""

ACCOUNT = "https://ca.example/acme/account/1"


def digest(thumbprint: str = THUMBPRINT) -> str:
    """What dns-01 looks for (RFC 8555 section 8.4)."""
    octets = sha256(f"{TOKEN}.{thumbprint}".encode()).digest()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
