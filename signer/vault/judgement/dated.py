"""What the Baseline Requirements ask of a leaf, an OCSP answer and a CRL by date: judged when it is signed.

Beside validity (service.py), evidence (evidence.py) and CA certificates (lifetimes.py).  Under private rules
none of it binds; what holds at any time is in profiles.py, crl.py and ocsp.py.

Must never: read a clock: whoever signs says when.

BR 1.2.2, 4.2.2, 4.9.7, 4.9.10, 7.1.2.7, 7.1.2.11.2.
"""

from __future__ import annotations

from core import identifiers, requirements
from core.errors import Refused
from core.requirements import Limit, limit, row
from signer.api import CrlRequest, LeafRequest, OcspRequest
from signer.vault.templates.profiles import LeafProfile


def must_suit_leaf(request: LeafRequest, profile: LeafProfile, now: int, until: int) -> None:
    """Signed at `now` or `until` (POSIX seconds), or in between.  Raises `Refused("dated.*")`."""
    if profile.client_auth:  # not by date: stricter than BR 7.1.2.7.10, as Chrome's policy comes to be
        raise Refused("dated.client-auth", "public certificates are for servers only: use another profile")
    skew = row(Limit.NOT_BEFORE_SKEW, until)
    if max(abs(at - request.not_before) for at in (now, until)) > skew.value:
        raise Refused("dated.not-before", f"notBefore is more than {skew.value} s from now ({skew.clause})")
    if not limit(Limit.REVERSE_ZONE_NAMES, until):
        for name in request.names:
            if identifiers.is_reverse(name):
                raise Refused("dated.reverse-zone", f"{name} lies in a reverse zone (BR 4.2.2): leave it out")
    for name in request.names:
        address = identifiers.address_of(name)
        # Another reading than that of the perspectives, and coarser: what both let through is public.
        if address is not None and (not address.is_global or address.is_multicast):
            raise Refused("dated.special-purpose", f"{name} is no public address (BR 4.2.2): leave it out")
    short = row(Limit.SHORT_LIVED_VALIDITY, until)
    if not (profile.crl or profile.ocsp) and request.not_after - request.not_before + 1 > short.value:
        raise Refused(
            "dated.short-lived",
            f"a certificate without CRL and OCSP is valid for {short.value} s at most ({short.clause})",
        )


def must_suit_ocsp(request: OcspRequest, now: int) -> None:
    """Raises `Refused("dated.*")`."""
    # The least of 8 hours is the settings' business (core/checks.py): towards the end of a responder whose
    # renewal failed, a short answer does less harm than none.
    most = row(Limit.OCSP_VALIDITY_MOST, now)
    # "The difference in time between thisUpdate and nextUpdate, inclusive."
    if request.next_update - request.this_update + 1 > most.value:
        raise Refused(
            "dated.ocsp-validity", f"an OCSP answer is valid for {most.value} s at most ({most.clause})"
        )


def must_suit_crl(request: CrlRequest, now: int) -> None:
    """Raises `Refused("dated.*")`."""
    most = row(Limit.CRL_VALIDITY, now)
    if request.next_update - request.this_update > most.value:
        raise Refused(
            "dated.crl-validity", f"nextUpdate is at most {most.value} s after thisUpdate ({most.clause})"
        )


def expiry(now: int, lifetime: int) -> int:
    """The last second at which what was judged at `now` may be signed: never under a rule that is not yet."""
    coming = requirements.next_change(now)
    return now + lifetime if coming is None else min(now + lifetime, coming - 1)
