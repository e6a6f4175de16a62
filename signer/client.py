"""The vault as its callers see it: one typed method for each procedure of signer/api.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.rpc import RpcClient
from signer import api
from signer.ocsp_batch import SIGN_OCSP_BATCH, OcspBatch, OcspOutcome


class Vault:
    """A connection to the vault's socket; reconnects by itself.

    Every method raises `Refused` when a rule says no, `TransientError` when the vault is away or its token
    failed (the call may have been done), `HaltIssuance` when nothing may be signed until a person acts.
    """

    def __init__(self, socket: Path, timeout: float = 60.0, owner: Path | None = None) -> None:
        """`owner` is the vault's own directory, by which it is known (core.rpc)."""
        self._rpc = RpcClient(socket, timeout, owner)

    async def describe(self) -> api.Description:
        """The issuers, responders and perspectives that the vault holds."""
        return await self._rpc.call(api.DESCRIBE, api.Nothing())

    async def prepare(self, request: api.LeafRequest) -> api.Prepared:
        """Have a leaf judged, built and linted.  Changes nothing that lasts."""
        return await self._rpc.call(api.PREPARE, request)

    async def prepare_final(self, request: api.FinalRequest) -> api.Prepared:
        """Have the certificate of a precertificate built and linted.  Changes nothing that lasts."""
        return await self._rpc.call(api.PREPARE_FINAL, request)

    async def issue(self, token: str) -> api.Issued:
        """Have it signed.  After anything but an answer ask `recall` before all else (the crash rule)."""
        return await self._rpc.call(api.ISSUE, api.IssueRequest(token))

    async def recall(self, issuance_id: str) -> api.Recalled:
        """What became of an issuance."""
        return await self._rpc.call(api.RECALL, api.RecallRequest(issuance_id))

    async def local_service(self, serial: bytes, public_key: bytes) -> api.Issued:
        """A TLS certificate for our own directory."""
        return await self._rpc.call(api.LOCAL_SERVICE, api.LocalServiceRequest(serial, public_key))

    async def sign_ocsp(self, request: api.OcspRequest) -> api.Signed:
        """A signed OCSPResponse."""
        return await self._rpc.call(api.SIGN_OCSP, request)

    async def sign_ocsp_list(self, request: api.OcspList) -> api.Signed:
        """A signed OCSPResponse with several statuses."""
        return await self._rpc.call(api.SIGN_OCSP_LIST, request)

    async def sign_ocsp_batch(self, requests: Sequence[api.OcspRequest]) -> tuple[OcspOutcome, ...]:
        """An OCSPResponse for each request, or why that one was refused."""
        answer = await self._rpc.call(SIGN_OCSP_BATCH, OcspBatch(tuple(requests)))
        return answer.outcomes

    async def hold_crl_blocks(self, request: api.CrlBlocks) -> None:
        """Have entries judged, and held for CRLs that are asked for later."""
        await self._rpc.call(api.HOLD_CRL_BLOCKS, request)

    async def sign_crl(self, request: api.CrlRequest) -> api.SignedCrl:
        """A signed CertificateList; `crl.block-unknown` when the vault does not hold a block (any more)."""
        return await self._rpc.call(api.SIGN_CRL, request)

    async def sign_manifest(self, payload: bytes) -> bytes:
        """The JWS over a manifest of the repository; its number is spent, whatever comes back."""
        return (await self._rpc.call(api.SIGN_MANIFEST, api.ManifestRequest(payload))).jws

    async def block_key(self, spki_sha256: bytes) -> None:
        """Have this key refused for ever; durable when it returns."""
        await self._rpc.call(api.BLOCK_KEY, api.BlockKeyRequest(spki_sha256))

    async def journal(self, after: int, limit: int = 1000) -> api.Journal:
        """A page of the journal."""
        return await self._rpc.call(api.JOURNAL, api.JournalRequest(after, limit))

    async def activation(self) -> api.ActivationState:
        """Whether its token is open, and whether issuance is halted."""
        return await self._rpc.call(api.ACTIVATION, api.Nothing())

    async def activate(self, request: api.ActivateRequest) -> api.ActivationState:
        """Hand over one person's share; with the last one that is needed the token is opened."""
        return await self._rpc.call(api.ACTIVATE, request)

    async def deactivate(self, request: api.ConsentRequest) -> api.ActivationState:
        """Hand over one person's word that the token be closed; the last one that is needed closes it."""
        return await self._rpc.call(api.DEACTIVATE, request)

    async def halt(self, actor: str, reason: str) -> api.ActivationState:
        """Stop issuing certificates to subscribers, at once.  CRLs and OCSP answers are still signed."""
        return await self._rpc.call(api.HALT, api.HaltRequest(actor, reason))

    async def resume(self, request: api.ConsentRequest) -> api.ActivationState:
        """Hand over one person's word that issuance go on."""
        return await self._rpc.call(api.RESUME, request)

    async def close(self) -> None:
        """Drop the connection."""
        await self._rpc.close()
