"""The HTTP of a log: add-pre-chain and add-chain, with limits on time and size.

Must never: follow a redirect, use a proxy of the environment, or read more than an answer can hold.

RFC 6962 sections 4.1 and 4.2; static-ct-api keeps both for submission.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import aiohttp
import msgspec

from signer.ct.log_list import Log
from signer.ct.verification import Answer

MAX_ANSWER = 64 * 1024
"""Octets; an SCT's answer has a few hundred, and extensions may have 65,535 at most."""

MAX_RETRY_AFTER = 3600
"""Seconds: a log that asks for more is asked again after an hour, in case it did not mean it."""

CONNECTIONS = 16
"""To one log at a time."""

_decoder = msgspec.json.Decoder(Answer)
_TOO_MANY, _UNAVAILABLE = 429, 503


class LogFailed(Exception):
    """A log gave no answer that can be read; `retry_after` seconds when it said so."""

    def __init__(self, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class LogClient:
    """Asks logs.  To be used in one event loop, and closed."""

    def __init__(self, request_timeout: float) -> None:
        self._timeout = aiohttp.ClientTimeout(total=request_timeout)
        self._session: aiohttp.ClientSession | None = None

    async def add_pre_chain(self, log: Log, chain: Sequence[bytes]) -> Answer:
        """Submit a precertificate; `chain` in DER, it first.  Raises `LogFailed`."""
        return await self._post(log, "add-pre-chain", chain)

    async def add_chain(self, log: Log, chain: Sequence[bytes]) -> Answer:
        """Submit a certificate; `chain` in DER, it first.  Raises `LogFailed`."""
        return await self._post(log, "add-chain", chain)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, log: Log, word: str, chain: Sequence[bytes]) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "acme-server", "Accept-Encoding": "identity"},
                auto_decompress=False,
                timeout=self._timeout,
                trust_env=False,
            )
        body = {"chain": [base64.b64encode(each).decode() for each in chain]}
        try:
            async with self._session.post(
                f"{log.url}/ct/v1/{word}", json=body, allow_redirects=False
            ) as response:
                octets = await _read(response)
                if response.status != 200:
                    reason = octets[:200].decode("utf-8", "replace")
                    raise LogFailed(f"HTTP {response.status}: {reason!r}", _retry_after(response))
        except TimeoutError as error:
            raise LogFailed("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LogFailed(f"{type(error).__name__}: {error}") from error
        try:
            return _decoder.decode(octets)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise LogFailed(f"an answer that is none: {error}") from error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    octets = bytearray()
    async for chunk in response.content.iter_any():
        octets += chunk
        if len(octets) > MAX_ANSWER:
            raise LogFailed(f"an answer of more than {MAX_ANSWER} octets")
    return bytes(octets)


def _retry_after(response: aiohttp.ClientResponse) -> int | None:
    """RFC 9110 section 10.2.3, in seconds only: logs send no dates."""
    text = response.headers.get("Retry-After", "")
    if response.status in (_TOO_MANY, _UNAVAILABLE) and text.isascii() and text.isdigit():
        return min(int(text[:9]), MAX_RETRY_AFTER)
    return None
