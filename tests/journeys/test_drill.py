"""The drill of docs/drills.md, an issuing key is compromised: real processes, tokens and commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.client import ChallengeServer, make_csr, open_session
from core.data_directory import DataDirectory
from core.errors import TransientError
from core.randomness import SystemRandomness
from signer.client import Vault
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.ceremonies import FIRST, HEAD
from tests.support.people import PASSPHRASE, crew
from tests.support.subscriber import Subscriber

pytestmark = [pytest.mark.long, pytest.mark.clause("CPS 5.7.3"), pytest.mark.clause("BR 5.7.1.2")]

CERTIFICATES = 4
"""Issued before: each is revoked, and each is asked for."""

COMPROMISE = """
[[steps]]
kind = "revoke-issuer"
issuer = "ec-1"
reason = "keyCompromise"
[[steps]]
kind = "generate-key"
token = "issuing"
label = "ec-2"
algorithm = "ec-p256"
[[steps]]
kind = "issuing-certificate"
id = "ec-2"
common_name = "EC Issuing CA 2"
[[steps]]
kind = "root-crl"
[[steps]]
kind = "seal"
"""


class Crew:
    """Three people, two of whom open the tokens; their files lie in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._head = HEAD.format(title="Drill", present=2, of=3)
        self._files = []
        for each in crew(3):
            file = directory / f"{each.person.name}.identity"
            each.save(file, PASSPHRASE, SystemRandomness())
            self._head += f'[[people]]\nfile = "{each.person.save(directory).name}"\n'
            self._files.append(str(file))
        self._passphrase = directory / "passphrase"
        self._passphrase.write_text(PASSPHRASE + "\n")
        self._passphrase.chmod(0o600)

    def hold(self, ca: RunningCa, name: str, steps: str) -> None:
        """A ceremony of the first two."""
        script = self._directory / f"{name}.toml"
        script.write_text(self._head + steps)
        words = [word for file in self._files[:2] for word in ("--identity", file)]
        words += ["--passphrase-file", str(self._passphrase)] * 2
        command(ca, "ceremony", "run", str(script), *words)

    async def activate(self, ca: RunningCa) -> None:
        """The last two open the vault, as soon as it runs and is locked."""
        vault = Vault(DataDirectory(ca.data).vault_socket)
        await until_locked(vault)
        await vault.close()
        await self.agree(ca, "activate")

    async def agree(self, ca: RunningCa, word: str) -> None:
        """The last two say `word`, one after the other."""
        for file in self._files[1:]:
            await asyncio.to_thread(command, ca, word, "--identity", file)


async def until_locked(vault: Vault) -> None:
    """Return when a locked vault answers."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TransientError):
                if (await vault.activation()).locked:
                    return
            await asyncio.sleep(0.05)


class Watch:
    """A relying party that never stops asking for a CRL and an OCSP answer while the drill is held."""

    def __init__(self, ca: RunningCa, leaf: x509.Certificate, issuer: x509.Certificate) -> None:
        self._ca = ca
        self._ocsp = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA1()).build()
        self._over = threading.Event()
        self.faults: list[str] = []
        self.asked = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(30)

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.asked += 1
            try:
                crl = x509.load_der_x509_crl(self._ca.get(f"{self._ca.public_url}/crl/ec-1-0.crl"))
                assert crl.next_update_utc is not None
                if crl.next_update_utc.timestamp() < time.time():
                    self.faults.append("a CRL past its nextUpdate")
                answer = self.status()
                if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                    self.faults.append(f"OCSP says {answer.response_status}")
            except Exception as error:
                self.faults.append(repr(error))

    def status(self) -> ocsp.OCSPResponse:
        url, kind = f"{self._ca.public_url}/ocsp", "application/ocsp-request"
        return ocsp.load_der_ocsp_response(self._ca.get(url, self._ocsp.public_bytes(Encoding.DER), kind))


class Stopwatch:
    """What took how long, in seconds."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._begun = time.monotonic()

    def lap(self, what: str) -> None:
        now = time.monotonic()
        self.laps[what] = round(now - self._begun, 2)
        self._begun = now


def command(ca: RunningCa, *words: str) -> str:
    """`acme-server WORDS`; its output."""
    ran = subprocess.run(
        ca.command(*words),
        input=PASSPHRASE + "\n",
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def until(what: str, holds: Any, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def roster(ca: RunningCa) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(ca.get(f"{ca.public_url}/manifest.json"))
    except urllib.error.HTTPError:
        return {}  # none yet: the vault signs it some seconds after it was opened for the first time
    return {each["id"]: each for each in document["issuers"]}


def crl_serials(ca: RunningCa, name: str) -> set[int]:
    return {
        entry.serial_number for entry in x509.load_der_x509_crl(ca.get(f"{ca.public_url}/crl/{name}.crl"))
    }


async def test_a_compromised_issuing_key_is_replaced_and_relying_parties_hear_of_it_all_the_time(
    tmp_path: Path,
) -> None:
    ca, http01 = RunningCa(tmp_path / "ca", {"status.crl_delay": 1}), ChallengeServer()
    people = Crew(tmp_path)
    people.hold(ca, "first", FIRST)
    starting = asyncio.create_task(asyncio.to_thread(ca.start))
    try:
        await people.activate(ca)
        await starting
        clock = Stopwatch()
        await http01.start("127.0.0.1", ca.http_port)
        async with open_session(str(ca.trust_anchor), 8) as session:
            subscriber = await Subscriber.register(session, ca.directory_url, http01)
            before = [await subscriber.obtain(f"drill-{number}.localhost") for number in range(CERTIFICATES)]
            chains = [x509.load_pem_x509_certificates(each.chain) for each in before]
            assert {chain[1].subject.rfc4514_string().partition(",")[0] for chain in chains} == {
                "CN=Example Private CA EC Issuing CA 1"
            }
            leaf, compromised = chains[0][0], chains[0][1]
            watch = Watch(ca, leaf, compromised)
            with watch.watching():
                clock.lap("issue")
                command(ca, "halt", "--reason", "drill: the key of ec-1 is compromised")
                clock.lap("halt")
                # An order that comes now waits: nobody has to place it again.
                waiting = await subscriber.order("after.localhost")

                chosen = ("--issuer", "ec-1", "--cause", "cps-requires", "--note", "drill", "--yes")
                assert f"{CERTIFICATES} revoked" in command(ca, "revoke", *chosen)
                clock.lap("revoke all")
                serials = {chain[0].serial_number for chain in chains}
                until("the CRL lists every leaf", lambda: serials <= crl_serials(ca, "ec-1-0"))
                assert watch.status().certificate_status is ocsp.OCSPCertStatus.REVOKED
                clock.lap("published")

                people.hold(ca, "compromise", COMPROMISE)
                clock.lap("ceremony")
                await people.activate(ca)
                clock.lap("activated")
                until("the roster names ec-2", lambda: "ec-2" in roster(ca))
                clock.lap("roster")
                assert roster(ca)["ec-1"]["state"] == "retired"
                assert compromised.serial_number in crl_serials(ca, "root-0")

                await people.agree(ca, "resume")
                clock.lap("resumed")
                ended = await subscriber.finish(waiting, make_csr("after.localhost"))
                clock.lap("issue again")
                new, issuer = x509.load_pem_x509_certificates(ended.chain)
                assert "EC Issuing CA 2" in issuer.subject.rfc4514_string()
                new.verify_directly_issued_by(issuer)
                until("a CRL of ec-2", lambda: (ca.data / "repository/crl/ec-2-0.crl").exists())
                assert crl_serials(ca, "ec-2-0") == set()
        assert watch.faults == []
        assert watch.asked > 20
        print(json.dumps(clock.laps))
    finally:
        await asyncio.gather(starting, return_exceptions=True)
        await http01.stop()
        await asyncio.to_thread(ca.stop)
