"""A perspective that has nothing to look at: `operations.process` whose checks pass at once.

With six of these the fan-out itself is measured: the coordinator, the channel, the signatures.  With six
real ones on this machine it is mostly their work, for which each has a host of its own in earnest.
"""

from __future__ import annotations

import sys

from core.evidence import CaaSeen, Result
from operations import process
from validation import caa
from validation.challenge import Challenge, Shown
from validation.checker import Checker
from validation.verdict import Trace


class _Prompt(Checker):
    async def see_control(self, method: str, challenge: Challenge, trace: Trace) -> Shown:
        return Shown()

    async def see_caa(self, base: str, issuance: caa.Issuance, trace: Trace) -> CaaSeen:
        return CaaSeen(Result.PASS)


if __name__ == "__main__":
    from validation import perspective

    perspective.Checker = _Prompt  # type: ignore[misc]
    sys.exit(process.main())
