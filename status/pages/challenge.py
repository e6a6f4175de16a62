"""Fresh challenges for proofs of possession: stateless, bound to this CA and to the second they were made.

The mark behind the time is an HMAC of what stands before it, so that whoever signs it has seen this page
within `LIFETIME`, and nobody can be led to sign one beforehand.

BR 4.9.12; core/key_proofs.py has what a challenge begins with.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.clock import Clock
from core.key_proofs import NoProof, beginning
from status.pages.secret import PagesSecret

LIFETIME = 86400
"""Seconds: time for whoever keeps the key on another machine; a day later it is merely fetched again."""

_PURPOSE = "problem report challenge v1"
_TAIL = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) \| ([A-Za-z0-9_-]{22})")


class Challenges:
    """Those of the CA whose repository is at `ca`."""

    def __init__(self, secret: PagesSecret, ca: str, clock: Clock) -> None:
        self._secret = secret
        self._beginning = beginning(ca)
        self._clock = clock

    def fresh(self) -> str:
        """A challenge: one line of ASCII."""
        at = datetime.fromtimestamp(self._clock.latest(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{self._beginning}{at}"
        return f"{text} | {self._secret.mark(_PURPOSE, text)}"

    def require_fresh(self, challenge: str) -> None:
        """Raises `NoProof` for one that is not ours, or is over."""
        tail = _TAIL.fullmatch(challenge.removeprefix(self._beginning))
        text = challenge.rpartition(" | ")[0]
        if (
            not challenge.startswith(self._beginning)
            or tail is None
            or not self._secret.is_mark(_PURPOSE, text, tail[2])
        ):
            raise NoProof(
                "challenge",
                "what was signed is no challenge of this page: sign the line shown here, unchanged",
            )
        try:
            made = datetime.strptime(tail[1], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        except ValueError:
            raise NoProof("challenge", "the challenge holds no time") from None
        if not made <= self._clock.latest() <= made + LIFETIME:
            raise NoProof("challenge-over", "the challenge is over: sign the new one shown here")
