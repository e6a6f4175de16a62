"""The numbered steps of the issuance cycle, as they are passed (docs/issuance.md).

A step is a debug log record with an attribute `step`.  The crash tests listen for one and end the process
there (operations/process.py); nothing else depends on it.
"""

from __future__ import annotations

import logging

_log = logging.getLogger("signer.steps")


def reached(step: str, issuance_id: str = "") -> None:
    """Say that `step` ("4 prepare", "8 intent") is done for an issuance.

    The vault's own certificates ("ocsp-responder:...", "local-service:...") are no issuances of the cycle.
    """
    if ":" in issuance_id:
        return
    _log.debug("step %s of %s", step, issuance_id, extra={"step": step})
