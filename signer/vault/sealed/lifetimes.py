"""How long a CA's keys and certificates may be used, judged at the second of every signature.

A CA certificate is admitted before the root signs it (`admit_ca`).  Whatever an issuing key signs afterwards
is judged again: leaves while the key is active and inside its planned days (`must_issue`), CRLs and OCSP
answers until its certificate ends or the key is destroyed (`must_answer`).

Must never: read a clock; let a key sign past the hard stop, whatever its certificate says.

CPS 6.3.2 (20 years); BR 6.3.2, 7.1.2.1.1 (roots), 7.1.2.6 (subordinate CAs), 4.9.7 (CRLs go on).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from core.errors import Refused
from core.requirements import DAY, Limit, row
from core.settings import Rules
from signer.api import IssuerState
from signer.vault.templates.authority import Issuer


@dataclass(frozen=True, slots=True)
class Life:
    """What a ceremony sealed of an issuing key's life; `since` and `until` POSIX seconds, 0 for none."""

    state: IssuerState = IssuerState.ACTIVE
    since: int = 0
    until: int = 0


ACTIVE = Life()
"""Of a key that signs leaves as long as its certificate lasts."""


def key_ends(born: int, now: int) -> int:
    """The last second, POSIX, in which a CA key made at `born` may be used (CPS 6.3.2)."""
    return born + row(Limit.CA_KEY_LIFETIME, now).value - 1


def admit_ca(
    certificate: bytes, rules: Rules, now: int, *, parent: bytes | None = None, key_born: int | None = None
) -> None:
    """Judge the dates of a CA certificate (DER, signed or not) that is to be signed at `now`.

    `parent` is its issuer's certificate, None for a root; `key_born` when its key was made, None when that is
    now.  Raises `Refused`.
    """
    parsed = x509.load_der_x509_certificate(certificate)
    begins, ends = int(parsed.not_valid_before_utc.timestamp()), int(parsed.not_valid_after_utc.timestamp())
    back = row(Limit.CA_BACKDATE, now)
    if not now - back.value <= begins <= now:
        raise Refused(
            "ca.not-before",
            f"notBefore lies within a day before the signing ({back.clause}): see the clock",
        )
    born = begins if key_born is None else min(key_born, begins)
    if ends > key_ends(born, now):
        stop = row(Limit.CA_KEY_LIFETIME, now)
        raise Refused(
            "ca.key-lifetime",
            f"the key would be used for more than {stop.value // DAY} days ({stop.clause}): shorten the "
            "certificate, or make a new key",
        )
    if parent is not None:
        if ends > int(x509.load_der_x509_certificate(parent).not_valid_after_utc.timestamp()):
            raise Refused("ca.not-after", "the certificate would outlive its issuer: shorten it")
    elif rules is Rules.PUBLIC:
        least, most = row(Limit.ROOT_VALIDITY_LEAST, now), row(Limit.ROOT_VALIDITY_MOST, now)
        if not least.value <= ends - begins + 1 <= most.value:
            raise Refused(
                "ca.root-validity",
                f"a root lives {least.value // DAY} to {most.value // DAY} days ({least.clause}): "
                "set another lifetime",
            )


def must_issue(issuer: Issuer, life: Life, now: int) -> None:
    """That the key may sign leaves at `now`.  Raises `Refused`; the caller asks for the issuers anew."""
    must_answer(issuer, life, now)
    if life.state is not IssuerState.ACTIVE:
        raise Refused("issuer.state", f"issuing CA {issuer.id} is {life.state}: another one signs leaves")
    if now < life.since:
        raise Refused("issuer.since", f"the day of issuing CA {issuer.id} has not come: another signs leaves")
    if life.until and now > life.until:
        raise Refused("issuer.until", f"the days of issuing CA {issuer.id} are over: another signs leaves")


def may_issue(issuer: Issuer, life: Life, now: int) -> bool:
    """Whether `must_issue` holds."""
    try:
        must_issue(issuer, life, now)
    except Refused:
        return False
    return True


def must_answer(issuer: Issuer, life: Life, now: int) -> None:
    """That the key may say the status of what it signed at `now`.  Raises `Refused`."""
    if life.state is IssuerState.DESTROYED:
        raise Refused("issuer.destroyed", f"the key of issuing CA {issuer.id} was destroyed in a ceremony")
    if now < issuer.not_before:
        raise Refused("issuer.begins", f"the certificate of {issuer.id} is not valid yet: see the clock")
    if now > min(issuer.not_after, key_ends(issuer.not_before, now)):
        raise Refused(
            "issuer.ended",
            f"issuing CA {issuer.id} has ended (CPS 6.3.2): a ceremony makes a new one",
        )
