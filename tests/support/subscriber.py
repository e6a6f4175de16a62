"""A subscriber that never gives up: it drives an order to its end through broken connections and restarts."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.client import AcmeClient, ChallengeServer, FlowFailed, make_csr

PAUSE = 0.05
"""Seconds between two looks at an order."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How an order ended: its URL, "valid" or "invalid", the order object, the chain (PEM; b"" when none)."""

    url: str
    status: str
    order: dict[str, Any]
    chain: bytes


class Subscriber:
    """One account; `http01` answers its challenges."""

    def __init__(self, client: AcmeClient, http01: ChallengeServer) -> None:
        self.client = client
        self._http01 = http01

    @classmethod
    async def register(
        cls, session: aiohttp.ClientSession, directory_url: str, http01: ChallengeServer
    ) -> Subscriber:
        """With a new account."""
        return cls(await AcmeClient.register(session, directory_url), http01)

    async def obtain(self, name: str, seconds: float = 90) -> Ended:
        """An order for `name`, carried to its end.  Raises AssertionError when that takes over `seconds`."""
        return await self.finish(await self.order(name, seconds), make_csr(name), seconds)

    async def order(self, name: str, seconds: float = 90, **members: Any) -> str:
        """The URL of a new order for `name`, with what else it says."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                headers, _ = await self.client.post(
                    self.client.directory["newOrder"],
                    {"identifiers": [{"type": "dns", "value": name}]} | members,
                )
                return str(headers["Location"])
            except (FlowFailed, aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"no order for {name} within {seconds:.0f} s") from error
                await asyncio.sleep(PAUSE)

    async def finish(self, url: str, csr: bytes, seconds: float = 90) -> Ended:
        """Whatever the order at `url` needs until it is valid or invalid."""
        deadline = time.monotonic() + seconds
        last: object = "nothing yet"
        while time.monotonic() < deadline:
            try:
                order = await self._get(url)
                last = order
                if order["status"] == "invalid":
                    return Ended(url, "invalid", order, b"")
                if order["status"] == "valid":
                    return Ended(url, "valid", order, (await self.client.post(order["certificate"], None))[1])
                await self._advance(order, csr)
            except (FlowFailed, aiohttp.ClientError, TimeoutError) as error:
                last = error
            await asyncio.sleep(PAUSE)
        raise AssertionError(f"{url} did not end within {seconds:.0f} s; last seen: {last!r}")

    async def download(self, url: str, seconds: float = 90) -> bytes:
        """The chain (PEM) at `url`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return (await self.client.post(url, None))[1]
            except (FlowFailed, aiohttp.ClientError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"no chain at {url}: {error}") from error
                await asyncio.sleep(PAUSE)

    async def revoke(self, chain: bytes, reason: int, seconds: float = 90) -> None:
        """Revoke the leaf of `chain`; returns when the CA acknowledged it, now or (alreadyRevoked) before."""
        body = chain.split(b"-----END CERTIFICATE-----")[0].split(b"-----BEGIN CERTIFICATE-----")[1]
        der = base64.b64decode(b"".join(body.split()))
        payload = {"certificate": base64.urlsafe_b64encode(der).rstrip(b"=").decode(), "reason": reason}
        deadline = time.monotonic() + seconds
        while True:
            try:
                await self.client.post(self.client.directory["revokeCert"], payload)
                return
            except (FlowFailed, aiohttp.ClientError, TimeoutError) as error:
                if "alreadyRevoked" in str(error):
                    return
                if time.monotonic() > deadline:
                    raise AssertionError(f"the revocation was not acknowledged: {error}") from error
                await asyncio.sleep(PAUSE)

    async def _advance(self, order: dict[str, Any], csr: bytes) -> None:
        if order["status"] == "ready":
            encoded = base64.urlsafe_b64encode(csr).rstrip(b"=").decode()
            await self.client.post(order["finalize"], {"csr": encoded})
        if order["status"] == "pending":
            for url in order["authorizations"]:
                authorization = await self._get(url)
                if authorization["status"] != "pending":
                    continue
                challenge = next(c for c in authorization["challenges"] if c["type"] == "http-01")
                token = challenge["token"]
                self._http01.answers[token] = f"{token}.{self.client.thumbprint}"
                if challenge["status"] == "pending":
                    await self.client.post(challenge["url"], {})

    async def _get(self, url: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.client.post(url, None))[1])
        return found
