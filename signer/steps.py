"""The numbered steps of the issuance cycle, as they are passed (docs/issuance.md).

A step is a debug log record with an attribute `step`.  The crash tests listen for one and end the process
there (operations/process.py); nothing else depends on it.
"""

from __future__ import annotations

import logging

STEPS = {
    "0 validated": "app",
    "0 recorded": "app",
    "1 authorized": "app",
    "2 CAA fresh": "app",
    "3 reserved": "app",
    "4 prepare": "vault",
    "4 prepared": "app",
    "5 intent": "vault",
    "5 signed": "vault",
    "5 result": "vault",
    "5 issued": "app",
    "5 stored": "app",
    "6 collected": "app",
    "7 prepare": "vault",
    "7 prepared": "app",
    "8 intent": "vault",
    "8 signed": "vault",
    "8 result": "vault",
    "8 issued": "app",
    "8 stored": "app",
}
"""Each step and the process that passes it, in order; 5 to 7 with Certificate Transparency only."""

_log = logging.getLogger("signer.steps")


def reached(step: str, issuance_id: str = "") -> None:
    """Say that `step` ("4 prepare", "8 intent") is done for an issuance.

    The vault's own certificates ("ocsp-responder:...", "local-service:...") are no issuances of the cycle.
    """
    if ":" in issuance_id:
        return
    assert step in STEPS, step
    _log.debug("step %s of %s", step, issuance_id, extra={"step": step})


def ceremony(step: str) -> None:
    """Say how far a ceremony is ("3 intent": the intent of its third step is durable)."""
    _log.debug("ceremony: %s", step, extra={"step": f"ceremony {step}"})
