"""Which tokens production may use: those that the operator approved and a ceremony recorded.

Approval binds five things: manufacturer, model, firmware, the certificate of the device's validation and the
octets of its module.  The certificate's number is what people read on paper at the ceremony and the root key
sealed; the rest is read from the device whenever it is opened, and must be what was recorded.  Whoever can
only change the settings approves nothing, for the record is sealed; whoever swaps the module's file is
noticed, unless the new one was approved and recorded.

Outside production a difference is told and not refused: an update of SoftHSM2 changes its module's octets.

Must never: take a module's word for what it is, in production.

BR 6.2.7; CPS 6.2.1, 6.2.11.
"""

from __future__ import annotations

import logging

from core.errors import ConfigurationError, HaltIssuance
from core.settings import ApprovedToken, Rules, Settings
from signer.vault.tokens import facts as token_facts
from signer.vault.tokens.facts import TokenFacts
from signer.vault.tokens.modules import Habits

_SOFTWARE = ("SoftHSM project", "Mozilla Foundation", "opencryptoki", "IBM SoftTok", "Kryoptic", "swtpm")
"""Names by which software tokens are known, whatever vault.module_kind says of them."""

_log = logging.getLogger(__name__)


def must_be_approved(settings: Settings, recorded: TokenFacts | None, habits: Habits) -> None:
    """In production the recorded token is an approved one; asked at the start, before there is a PIN.

    Raises `ConfigurationError`: nothing is recorded, it is software, or not on the list.
    """
    if not settings.deployment.production:
        return
    if recorded is None:
        raise ConfigurationError(
            "production needs to know its token, and this hierarchy records nothing of it: hold a ceremony "
            "that records the token and its certificate"
        )
    if settings.ca.rules is Rules.PUBLIC and (habits.software or _is_software(recorded)):
        raise ConfigurationError(
            f"{recorded.manufacturer} {recorded.model} is a software token, and BR 6.2.7 wants FIPS 140-2 or "
            "140-3 level 3, or Common Criteria EAL 4: hold the ceremony with such a device"
        )
    if not any(_approves(entry, recorded) for entry in settings.vault.approved_tokens):
        raise ConfigurationError(
            f"the token is not approved: write vault.approved_tokens = [{{ {_described(recorded)} }}] after "
            "comparing it with the device's certificate, which the ceremony's script names ([[tokens]], "
            "certificate), or use an approved token"
        )


def must_be_the_recorded(settings: Settings, recorded: TokenFacts | None, found: TokenFacts) -> None:
    """The token that is there is the one that the ceremony recorded; asked before it is given the PIN.

    Raises `HaltIssuance` in production; elsewhere the difference is logged.
    """
    if recorded is None:
        return
    try:
        token_facts.must_be_as_recorded(recorded, found)
    except HaltIssuance as difference:
        if settings.deployment.production:
            raise
        _log.warning("vault: %s (production would not open it)", difference)


def _approves(entry: ApprovedToken, recorded: TokenFacts) -> bool:
    return bool(recorded.certificate) and (
        entry.manufacturer,
        entry.model,
        entry.firmware,
        entry.certificate,
        entry.module_sha256.lower(),
    ) == (
        recorded.manufacturer,
        recorded.model,
        recorded.firmware,
        recorded.certificate,
        recorded.module_sha256,
    )


def _is_software(facts: TokenFacts) -> bool:
    text = f"{facts.manufacturer} {facts.model}".lower()
    return any(name.lower() in text for name in _SOFTWARE)


def _described(facts: TokenFacts) -> str:
    return (
        f"manufacturer = {facts.manufacturer!r}, model = {facts.model!r}, firmware = {facts.firmware!r}, "
        f"certificate = {facts.certificate!r}, module_sha256 = {facts.module_sha256!r}"
    )
