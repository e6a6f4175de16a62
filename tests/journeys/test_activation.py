"""A CA whose PIN three people share: orders wait for two of them, whatever is killed, halted or closed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.error
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.client import ChallengeServer, make_csr, open_session
from core.data_directory import DataDirectory
from core.people import Identity
from core.randomness import SystemRandomness
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.ceremonies import FIRST, HEAD
from tests.support.people import PASSPHRASE, Crew, crew, hand_over
from tests.support.subscriber import Ended, Subscriber

pytestmark = [pytest.mark.long, pytest.mark.clause("BR 6.2.8"), pytest.mark.clause("CPS 6.2.8")]

PATIENCE = 30
"""Seconds for anything that must happen by itself; on an idle machine it takes two."""


@dataclass
class Site:
    """The CA, its people and a subscriber."""

    ca: RunningCa
    crew: Crew
    keys: Path
    subscriber: Subscriber

    async def command(self, word: str, number: int | None = None, *words: str) -> str:
        """What `acme-server WORD` of person `number` (from 0) says; it must succeed."""
        who = [] if number is None else self.crew.files(self.keys, number)
        if word != "activate":
            who = who[:2]
        done = await asyncio.to_thread(
            subprocess.run,
            self.ca.command(word, *who, *words),
            input=PASSPHRASE + "\n",
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=60,
            check=False,
        )
        # `status` ends with 5 while not everything runs.
        assert done.returncode == 0 or (word, done.returncode) == ("status", 5), done.stderr
        return done.stdout

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.command("status", None, "--json"))["vault"]
        return found

    async def order(self, name: str) -> asyncio.Task[Ended]:
        """A task that carries an order to its end; returns when the order is `processing`."""
        url = await self.subscriber.order(name)
        task = asyncio.create_task(self.subscriber.finish(url, make_csr(name)))
        await until(lambda: self.state(url), "processing")
        return task

    async def state(self, url: str) -> str:
        return str(json.loads((await self.subscriber.client.post(url, None))[1])["status"])

    async def health(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            try:
                return dict(json.loads(self.ca.get(f"http://127.0.0.1:{self.ca.metrics_port}/healthz")))
            except urllib.error.HTTPError as error:
                return dict(json.loads(error.read()))

        return await asyncio.to_thread(ask)

    async def ocsp(self, chain: bytes) -> ocsp.OCSPResponse:
        leaf, issuer = x509.load_pem_x509_certificates(chain)[:2]
        request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
        der = await asyncio.to_thread(
            self.ca.get,
            f"{self.ca.public_url}/ocsp",
            request.public_bytes(Encoding.DER),
            "application/ocsp-request",
        )
        return ocsp.load_der_ocsp_response(der)


async def until(look: Callable[[], Any], wanted: object) -> None:
    async with asyncio.timeout(PATIENCE):
        while (found := await look()) != wanted:
            assert found != "invalid"
            await asyncio.sleep(0.1)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    ca = RunningCa(tmp_path / "ca", {"status.crl_delay": 1})
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    keys = tmp_path / "people"
    keys.mkdir()
    try:
        await asyncio.to_thread(ca.start)
        await asyncio.to_thread(ca.stop)
        crew = hand_over(DataDirectory(ca.data))
        await asyncio.to_thread(ca.start)
        async with open_session(str(ca.trust_anchor), 8) as session:
            yield Site(ca, crew, keys, await Subscriber.register(session, ca.directory_url, http01))
    finally:
        await http01.stop()
        await asyncio.to_thread(ca.stop)


async def test_orders_wait_for_two_people_through_kills_a_closing_and_a_halt(site: Site) -> None:
    # Locked from the start: the front is there, one share activates nothing.
    assert "The vault is LOCKED: 2 of 3 people must activate it" in site.ca.log_end()
    first, ahead = await site.order("one.localhost"), signed_ahead(site)
    assert "1 of 2 are here to activate it (Beni); 1 more must come" in await site.command("activate", 1)
    assert (await site.status())["locked"]
    # The app looks at the vault from time to time.
    await until(lambda: names_beni(site), True)
    assert not first.done()
    assert "The vault is active" in await site.command("activate", 2)
    issued = await asyncio.wait_for(first, PATIENCE)
    assert issued.status == "valid"
    assert (await site.ocsp(issued.chain)).certificate_status is ocsp.OCSPCertStatus.GOOD
    await until(lambda: health_of(site, "vault"), "ok")
    # What the keeper has signed outlasts both vault and status process.
    await until(lambda: are_signed_ahead(site, before=ahead), True)

    # kill -9 of the vault: locked again; what is published stays served, a revocation is taken.
    site.ca.kill9("vault")
    await until(lambda: is_locked(site), True)
    site.ca.kill9("status")
    second = await site.order("two.localhost")
    await until(lambda: is_good(site, issued.chain), True)
    crl_url = f"{site.ca.public_url}/crl/ec-1-0.crl"
    before = x509.load_der_x509_crl(await asyncio.to_thread(site.ca.get, crl_url))
    leaf = x509.load_pem_x509_certificate(issued.chain)
    await site.command(
        *("revoke", None, f"{leaf.serial_number:x}"),
        *("--cause", "subscriber-request", "--reason", "superseded"),
    )
    for number in (0, 1):
        await site.command("activate", number)
    assert (await asyncio.wait_for(second, PATIENCE)).status == "valid"

    async def revoked() -> bool:
        crl = x509.load_der_x509_crl(await asyncio.to_thread(site.ca.get, crl_url))
        return crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None

    assert before.get_revoked_certificate_by_serial_number(leaf.serial_number) is None
    await until(revoked, True)

    # One person halts; status is still signed; two resume, and what waited goes on.
    await site.command("halt", None, "--reason", "a drill")
    third = await site.order("three.localhost")
    assert "halted by" in (await site.health())["issuance"]
    assert (await site.ocsp(issued.chain)).certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert "1 of 2 are here to resume it" in await site.command("resume", 0)
    assert not third.done()
    await site.command("resume", 2)
    assert (await asyncio.wait_for(third, PATIENCE)).status == "valid"

    # Two close the token and open it again.
    for number in (1, 2):
        await site.command("deactivate", number)
    assert (await site.status())["locked"]
    fourth = await site.order("four.localhost")
    for number in (1, 0):
        await site.command("activate", number)
    assert (await asyncio.wait_for(fourth, PATIENCE)).status == "valid"
    audit = await site.command("verify-audit")
    assert "is whole" in audit


def signed_ahead(site: Site) -> int:
    """Answers in the index."""
    return int(json.loads((site.ca.data / "run/keeper.json").read_text())["answers"])


async def are_signed_ahead(site: Site, before: int) -> bool:
    """Both answers about one more certificate, by SHA-1 and by SHA-256."""
    return signed_ahead(site) >= before + 2


async def is_good(site: Site, chain: bytes) -> bool:
    try:
        return (await site.ocsp(chain)).certificate_status is ocsp.OCSPCertStatus.GOOD
    except (OSError, ValueError):
        return False  # not up again yet


async def is_locked(site: Site) -> bool:
    return bool((await site.status()).get("locked"))


async def names_beni(site: Site) -> bool:
    return "1 here: Beni" in await health_of(site, "vault")


async def health_of(site: Site, part: str) -> str:
    return str((await site.health())[part])


async def test_the_shares_of_a_ceremony_open_the_vault_and_the_front_waits_for_its_first_opening(
    tmp_path: Path,
) -> None:
    ca = RunningCa(tmp_path / "ca")
    script, passphrase, held = _ceremony_files(tmp_path)
    site = Site(ca, Crew(held, ()), tmp_path, None)  # type: ignore[arg-type]
    identities = [f"{tmp_path}/{name}.identity" for name in ("Aoi", "Beni", "Chie")]
    words = [word for each in identities[:2] for word in ("--identity", each)]
    words += ["--passphrase-file", str(passphrase)] * 2
    await site.command("ceremony", None, "run", str(script), *words)
    starting = asyncio.create_task(asyncio.to_thread(ca.start))
    try:
        await until(lambda: is_locked(site), True)
        assert not starting.done()
        assert "1 of 2 are here" in await site.command("activate", None, "--identity", identities[2])
        assert "is active" in await site.command("activate", None, "--identity", identities[0])
        await asyncio.wait_for(starting, PATIENCE)
        assert (await site.status())["locked"] is False
    finally:
        await asyncio.gather(starting, return_exceptions=True)
        await asyncio.to_thread(ca.stop)


def _ceremony_files(directory: Path) -> tuple[Path, Path, tuple[Identity, ...]]:
    """Three people's files, their passphrase, and the script of a hierarchy of which two open the token."""
    people = crew(3)
    text = HEAD.format(title="A journey", present=2, of=3)
    for each in people:
        each.save(directory / f"{each.person.name}.identity", PASSPHRASE, SystemRandomness())
        text += f'[[people]]\nfile = "{each.person.save(directory).name}"\n'
    script, passphrase = directory / "first.toml", directory / "passphrase"
    script.write_text(text + FIRST)
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o600)
    return script, passphrase, people
