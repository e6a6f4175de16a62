"""HTTP as a stranger: bounded in time and size, and exact about what went wrong.

Must never: follow a redirect (nothing of a CA's moves), take more than `most` octets, wait longer than
its patience, or hand on words that drive a terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from core.clock import Clock
from operations.watch.finding import State, Wrong, plain
from operations.watch.limits import CLOCKS_DIFFER, about

PATIENCE = 10.0
"""Seconds for one answer: CCADB policy 6.2 and BR 4.10.2 ask for less."""

SLOW = 3.0
"""Seconds from which an answer is worth a warning: relying parties give up soon."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end."""

    status: int
    headers: CIMultiDict[str] = field(repr=False)
    octets: bytes = field(repr=False)
    seconds: float


class Fetcher:
    """Asks one URL after the other."""

    def __init__(self, http: aiohttp.ClientSession, clock: Clock, patience: float = PATIENCE) -> None:
        self._http = http
        self._clock = clock
        self.patience = patience

    async def get(self, url: str, most: int = MIB, headers: Mapping[str, str] | None = None) -> Got:
        """The answer to GET, which must be 200.  Raises `Wrong`."""
        return await self.ask("GET", url, most, headers=headers)

    async def ask(
        self,
        method: str,
        url: str,
        most: int = MIB,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        fit: tuple[int, ...] = (200,),
    ) -> Got:
        """The answer, with one of the statuses in `fit`.  Raises `Wrong`."""
        began = self._clock.monotonic()
        try:
            async with (
                asyncio.timeout(self.patience),
                self._http.request(
                    method, _url(url), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                octets = bytearray()  # a CRL may have 60 MB, and comes in a thousand pieces
                async for chunk in response.content.iter_chunked(65536):
                    octets += chunk
                    if len(octets) > most:
                        raise Wrong(f"{url}: more than {most} octets", "see what is served there")
                got = Got(
                    response.status,
                    CIMultiDict(response.headers),
                    bytes(octets),
                    self._clock.monotonic() - began,
                )
        except TimeoutError as error:
            raise Wrong(f"{url}: no whole answer within {self.patience:g} s", _AWAY) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Wrong(f"{url}: {plain(str(error) or type(error).__name__)}", _AWAY) from error
        if got.status not in fit:
            raise Wrong(f"{url}: HTTP status {got.status}", _AWAY)
        return got


_AWAY = "see that the server runs, that its name leads to it, and what its log says"


def must_be_quick(got: Got, url: str) -> None:
    """Raises `Wrong` (a warning) for an answer that took long."""
    if got.seconds > SLOW:
        raise Wrong(
            f"{url}: the answer took {got.seconds:.1f} s", "see what keeps the server busy", State.WARN
        )


def must_not_be_kept(got: Got, what: str, next_update: int, now: int) -> None:
    """No cache may hold what is signed longer than it is valid (RFC 9919 section 6).  Raises `Wrong`."""
    found = re.search(r"(?:^|[ ,])max-age=(\d{1,9})", got.headers.get("Cache-Control", ""))
    until = now + int(found[1]) if found else 0
    with contextlib.suppress(KeyError, ValueError, TypeError):
        until = max(until, int(parsedate_to_datetime(got.headers["Expires"]).timestamp()))
    if until > next_update + CLOCKS_DIFFER:
        raise Wrong(
            f"HTTP headers let caches keep {what} {about(until - next_update)} beyond its end",
            "see what rewrites Cache-Control and Expires in front of the server",
        )
    if not until:
        raise Wrong(f"{what} comes with neither max-age nor Expires", "see what takes them away", State.WARN)


def _url(url: str) -> URL:
    # As it is: "%2F" of a GET request by OCSP must stay.
    return URL(url, encoded=True)
