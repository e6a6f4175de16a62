"""What the keeper of OCSP answers asks of the vault: many statuses in one call (the rest is in api.py)."""

from __future__ import annotations

from dataclasses import dataclass

from core.rpc import Method
from signer.api import OcspRequest


@dataclass(frozen=True, slots=True)
class OcspBatch:
    """Statuses to be signed in one call; each is judged as `OcspRequest` alone is."""

    requests: tuple[OcspRequest, ...]


@dataclass(frozen=True, slots=True)
class OcspOutcome:
    """What became of one of a batch: the DER OCSPResponse, or why it was refused ("" when it was not)."""

    der: bytes
    refused: str = ""


@dataclass(frozen=True, slots=True)
class OcspOutcomes:
    """One for each request, in their order."""

    outcomes: tuple[OcspOutcome, ...]


SIGN_OCSP_BATCH = Method("sign-ocsp-batch", OcspBatch, OcspOutcomes)
