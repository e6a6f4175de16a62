"""status/server.py, asked by the real openssl."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from core.randomness import SystemRandomness
from core.rpc import RpcServer
from core.settings import Repository, Settings
from repo_static import publisher
from repo_static.store import Store
from signer.api import DESCRIBE, SIGN_OCSP, Description, Nothing
from status import server
from tests.support.keeper import Kept
from tests.support.software_vault import DAY, SoftwareVault
from tests.world.addresses import free_port


class Live:
    """The status process's `serve` on a real port, and a vault behind a real socket."""

    def __init__(self, house: Any) -> None:
        self.house = house
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = house.data.root
        self.rpc = RpcServer()

        async def describe(_: Nothing) -> Description:
            return house.vault.description()

        self.rpc.add(DESCRIBE, describe)
        self.rpc.add(SIGN_OCSP, house.vault.sign_ocsp)

    async def start_vault(self) -> None:
        self.house.data.run.mkdir(exist_ok=True)
        await self.rpc.listen(self.house.data.vault_socket)

    async def openssl(self, *words: str | Path) -> str:
        process = await asyncio.create_subprocess_exec(
            "openssl", *map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return output.decode()


@pytest.fixture
async def live(house: Any) -> AsyncIterator[Live]:
    it = Live(house)
    await it.start_vault()
    listen = Repository(listen=(f"127.0.0.1:{it.port}",), base_url=it.url)
    settings: Settings = replace(house.settings, repository=listen)
    ready = asyncio.Event()
    task = asyncio.create_task(server.serve(settings, house.data, house.clock, SystemRandomness(), ready.set))
    async with asyncio.timeout(10):
        await ready.wait()
    yield it
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await it.rpc.close()


def write_certificates(live: Live, issuer_id: str, serial: bytes) -> tuple[Path, Path, Path]:
    """(leaf, issuer, root) as PEM files."""
    vault: SoftwareVault = live.house.vault
    leaf, issuer, root = (live.directory / name for name in ("leaf.pem", "issuer.pem", "root.pem"))
    leaf.write_bytes(vault.leaf(issuer_id, serial))
    issuer.write_bytes(vault.issuers[issuer_id].certificate.public_bytes(Encoding.PEM))
    root.write_bytes(vault.root.certificate.public_bytes(Encoding.PEM))
    return leaf, issuer, root


@pytest.mark.parametrize("issuer_id", ["ec1", "rsa1"])
@pytest.mark.parametrize("hash_option", ["-sha1", "-sha256"])
async def test_openssl_ocsp_sees_good_and_then_revoked(live: Live, issuer_id: str, hash_option: str) -> None:
    serial = await live.house.issue(issuer_id)
    leaf, issuer, root = write_certificates(live, issuer_id, serial)
    attime = str(live.house.clock.now())
    words = [
        *("ocsp", hash_option, "-CAfile", root, "-attime", attime),
        *("-issuer", issuer, "-cert", leaf, "-url", f"{live.url}/ocsp", "-no_nonce"),
        *("-validity_period", str(3650 * DAY)),
    ]
    output = await live.openssl(*words)
    assert "Response verify OK" in output
    assert f"{leaf}: good" in output
    await live.house.revoke(serial, 4)
    output = await live.openssl(*words)
    assert "Response verify OK" in output
    assert f"{leaf}: revoked" in output
    assert "superseded" in output


async def test_openssl_verify_takes_the_crl_from_the_repository(live: Live) -> None:
    serial = await live.house.issue("rsa1")
    leaf, issuer, root = write_certificates(live, "rsa1", serial)
    crl = live.directory / "rsa1-0.crl"
    attime = str(live.house.clock.now())

    async def verify() -> str:
        await live.house.updater().update()
        async with ClientSession() as client, client.get(f"{live.url}/crl/rsa1-0.crl") as response:
            der = await response.read()
        crl.write_bytes(der)
        return await live.openssl(
            *("verify", "-crl_check", "-attime", attime, "-CAfile", root, "-untrusted", issuer),
            *("-CRLfile", crl, leaf),
        )

    assert f"{leaf}: OK" in await verify()
    await live.house.revoke(serial)
    assert "certificate revoked" in await verify()


async def test_it_serves_on_while_the_vault_is_away(live: Live) -> None:
    serial = await live.house.issue()
    await live.house.updater().update()
    der = live.house.request(serial)
    headers = {"Content-Type": "application/ocsp-request"}
    async with ClientSession() as client:
        async with client.post(f"{live.url}/ocsp", data=der, headers=headers) as response:
            first = await response.read()
        await live.rpc.close()
        live.house.data.vault_socket.unlink(missing_ok=True)
        async with client.post(f"{live.url}/ocsp", data=der, headers=headers) as response:
            assert await response.read() == first
        async with client.get(f"{live.url}/crl/ec1-0.crl") as response:
            assert response.status == 200


async def test_it_comes_back_to_a_restarted_vault(live: Live) -> None:
    await live.rpc.close()
    live.house.data.vault_socket.unlink(missing_ok=True)
    der = live.house.request(await live.house.issue())
    headers = {"Content-Type": "application/ocsp-request"}
    async with ClientSession() as client:
        async with client.post(f"{live.url}/ocsp", data=der, headers=headers) as response:
            assert await response.read() == bytes.fromhex("30030a0103")  # tryLater
        await live.start_vault()
        async with client.post(f"{live.url}/ocsp", data=der, headers=headers) as response:
            assert len(await response.read()) > 200


@pytest.mark.clause("requirements 1.07")
@pytest.mark.parametrize(
    "content", [None, b"", b"no database at all" * 1000], ids=["missing", "empty", "broken"]
)
async def test_the_repository_and_signed_answers_are_served_without_database_and_vault(
    house: Any, content: bytes | None
) -> None:
    published = await house.issue()
    keeper = Kept(house)
    await keeper.work()
    keeper.stop()
    store = Store(house.data.repository)
    publisher.publish(store, house.vault.description(), house.settings)
    store.add("cps/cp-cps-1.0.en.html", b"A certification practice statement.\n")
    database = house.data.database
    kept = {path: path.read_bytes() for path in database.parent.glob(f"{database.name}*")}
    await house.database.close()
    serial = b"\x4c" * 16
    for path in kept:
        path.unlink(missing_ok=True)
    if content is not None:
        database.write_bytes(content)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = replace(house.settings, repository=Repository(listen=(f"127.0.0.1:{port}",), base_url=url))
    ready = asyncio.Event()
    task = asyncio.create_task(server.serve(settings, house.data, house.clock, SystemRandomness(), ready.set))
    async with asyncio.timeout(10):
        await ready.wait()
    async with ClientSession() as client:
        for name in ("trust-anchor.crt", "issuers/ec1.crt", "crl/root-0.crl", "", "cps/cp-cps-1.0.en.html"):
            async with client.get(f"{url}/{name}") as response:
                assert response.status == 200
        headers = {"Content-Type": "application/ocsp-request"}
        async with client.post(f"{url}/ocsp", data=house.request(serial), headers=headers) as response:
            told = ocsp.load_der_ocsp_response(await response.read())
            assert told.response_status is ocsp.OCSPResponseStatus.TRY_LATER
        async with client.post(f"{url}/ocsp", data=house.request(published), headers=headers) as response:
            told = ocsp.load_der_ocsp_response(await response.read())
            assert told.certificate_status is ocsp.OCSPCertStatus.GOOD
        # A backup is brought back: no restart is needed.
        for path, octets in kept.items():
            path.write_bytes(octets)
        async with client.post(f"{url}/ocsp", data=house.request(serial), headers=headers) as response:
            told = ocsp.load_der_ocsp_response(await response.read())
            assert told.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
