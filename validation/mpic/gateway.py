"""A perspective whose eyes are a stock Open MPIC service: what that says is judged again here, and signed.

The service looks; the gateway beside it holds the key, asks both checks, demands that they were completed,
and judges the CAA records by our own reading (RFC 8657 is parsed and not enforced by open-mpic-core).  A
lookup failure there is an unfinished check, so it never counts as permission nor as the applicant's fault.

Must never: attest what an unfinished check says, or a method that the service reads more loosely than we do.

BR 3.2.2.8, 3.2.2.9; docs/adr/0017-remote-perspectives.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.errors import TransientError
from core.evidence import CaaSeen, Result
from validation.caa import CaaForbids, Issuance, evaluate
from validation.caa_value import CaaRecord, MalformedValue
from validation.challenge import Challenge, Shown
from validation.checker import Checker
from validation.mpic import open_mpic, translation
from validation.mpic.open_mpic import CaaRequest, CheckResponse, DcvRequest
from validation.mpic.peer import Peer
from validation.mpic.remote_channel import decoded, words
from validation.verdict import CheckFailed, Trace, printable

SECONDS = 12.0
"""For one check: below the 15 s after which the coordinator no longer waits."""

LOOSE = frozenset({"dns-persist-01"})
"""open-mpic-core compares accounturi without case and knows no policy=wildcard."""


class Gateway(Checker):
    """A checker that looks through `peer`; `checker` are the arguments of a `Checker`."""

    def __init__(self, peer: Peer, **checker: Any) -> None:
        super().__init__(**checker)
        self._peer = peer

    async def see_control(self, method: str, challenge: Challenge, trace: Trace) -> Shown:
        if method in LOOSE:
            raise TransientError(f"a stock Open MPIC service reads {method} too loosely to be attested")
        parameters = translation.dcv_parameters(method, challenge, self._identities)
        reply = await self._ask("/dcv", "dcv", DcvRequest(challenge.name, parameters))
        trace.add(f"open-mpic {self._peer.url}/dcv: passed={reply.check_passed} {_seen(reply)}")
        if not reply.check_passed:
            raise CheckFailed("unauthorized", f"{challenge.name}: {words(reply.errors or ())}")
        return Shown()

    async def see_caa(self, base: str, issuance: Issuance, trace: Trace) -> CaaSeen:
        name = f"*.{base}" if issuance.wildcard else base
        reply = await self._ask("/caa", "caa", CaaRequest(name, translation.caa_parameters(issuance)))
        trace.add(f"open-mpic {self._peer.url}/caa: passed={reply.check_passed} {_seen(reply)}")
        shown, found_at, problem, detail = self._judged(base, issuance, reply)
        result = Result.FAIL if problem else Result.PASS
        return CaaSeen(result, shown, found_at, problem=problem, detail=detail, trace=trace.lines())

    async def close(self) -> None:
        await self._peer.close()

    def _judged(
        self, base: str, issuance: Issuance, reply: CheckResponse
    ) -> tuple[tuple[str, ...], str, str, str]:
        """Records, where they were found, problem and detail ("" when both of us permit)."""
        records = reply.details.records_seen or ()
        found_at = (reply.details.found_at or "").lower().removesuffix(".")
        if bool(records) is not bool(found_at):
            raise TransientError("records and the name that held them go together; the reply has one alone")
        if found_at and base != found_at and not base.endswith("." + found_at):
            raise TransientError(f"CAA of {base} cannot be found at {printable(found_at, 255)}")
        try:
            parsed = _parsed(records)
            evaluate(parsed, issuance)
        except MalformedValue as error:
            return (), found_at, "dns", f"While processing CAA for {base}: {error}"
        except CaaForbids as error:
            return _shown(parsed), found_at, error.problem, f"CAA at {found_at}: {error.detail}"
        if not reply.check_passed:
            said = words(reply.errors or ())
            return _shown(parsed), found_at, "caa", f"the Open MPIC service forbids it: {said}"
        return _shown(parsed), found_at, "", ""

    async def _ask(self, path: str, kind: str, request: open_mpic.Request) -> CheckResponse:
        """A completed check of that kind.  Raises `TransientError`."""
        reply = decoded(*await self._peer.ask("POST", path, open_mpic.encode(request)), CheckResponse)
        if reply.check_type != kind:
            raise TransientError(f"the Open MPIC service answered another question than {kind}")
        if not reply.check_completed:
            raise TransientError(
                f"the Open MPIC service did not complete the check: {words(reply.errors or ())}"
            )
        return reply


def _parsed(records: Sequence[str]) -> list[CaaRecord]:
    return [CaaRecord.from_presentation(record) for record in records]


def _shown(records: Sequence[CaaRecord]) -> tuple[str, ...]:
    return tuple(record.presentation() for record in records)


def _seen(reply: CheckResponse) -> str:
    return open_mpic.encode(reply.details).decode()
