"""Whether somebody keeps the time: a certificate is dated by it, and production's clock must not be nobody's.

It is no reason not to start: a CA comes up before its time service has taken hold, and from the first moment
revocations are taken and status is served.  The vault asks before each certificate.

Must never: stop a revocation, a CRL or an OCSP answer.
"""

from __future__ import annotations

from core.clock import Clock
from core.settings import Settings


def without_time(settings: Settings, clock: Clock) -> str:
    """Why nothing is issued while production's clock is nobody's, with the remedy; "" when all is well."""
    if not settings.deployment.production or clock.synchronised():
        return ""
    return (
        "no time service disciplines the clock, which production needs: nothing is issued until one does "
        "(chronyc tracking or timedatectl says why)"
    )
