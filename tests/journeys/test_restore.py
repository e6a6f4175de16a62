"""A CA's database is put back from a backup, and everybody who speaks of status still says the same.

Real processes and a real token; killed in the middle of revocations before the restore.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from bench.client import ChallengeServer, FlowFailed, open_session
from core.reader import Reader
from status.ocsp.issuers import certid_hashes
from tests.support import agreement
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.restores import back_up
from tests.support.subscriber import Subscriber
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.clause("CPS 5.7.4"), pytest.mark.clause("BR 4.9.10")]

SOON = 30.0
"""Seconds for what happens within one or two on a machine with nothing else to do."""


@pytest.fixture
def ca(world: World, tmp_path: Path) -> Iterator[RunningCa]:
    made = RunningCa(
        tmp_path, {"validation.resolvers": [world.resolver], "status.crl_delay": 1, "status.crl_shards": 2}
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_a_database_put_back_from_a_backup_takes_no_revocation_back(ca: RunningCa) -> None:
    before = asyncio.run(subscribe(ca, "before", 3, revoke=[]))
    ca.stop()
    back_up(ca.data, ca.directory / "backup")
    ca.start()
    revoke_all(ca, before[:1])
    after = asyncio.run(subscribe(ca, "after", 3, revoke=[0]))
    eventually_agree(ca)
    revoke_all(ca, before[1:2])
    ca.kill9_all()  # it may stand in no CRL yet
    numbers = crl_numbers(ca)

    for old in ca.data.glob("ca.sqlite*"):
        old.unlink()
    shutil.copy(ca.directory / "backup" / "ca.sqlite", ca.data / "ca.sqlite")
    ca.start()
    for chain in (before[0], before[1], after[0]):
        assert says(ca, chain)[0] == "revoked"
    # Two certificates were issued after the backup: whoever ordered them is forgotten.
    found = reconcile(ca)
    assert [each["subject"] for each in found["missing"]] == ["certificates"]
    with pytest.raises((AssertionError, FlowFailed)):
        asyncio.run(subscribe(ca, "closed", 1, revoke=[], seconds=3))
    assert crl_numbers(ca) == numbers

    found = reconcile(ca, "--accept", "a drill")
    assert (found["missing"], found["revoked"]) == ([], 2)
    asyncio.run(subscribe(ca, "open", 1, revoke=[]))
    eventually_agree(ca)
    assert says(ca, before[2]) == agreement.GOOD
    assert says(ca, after[1])[0] == says(ca, after[2])[0] == "revoked"
    assert all(crl_numbers(ca)[scope] >= number for scope, number in numbers.items())
    for room in ("app", "status", "vault"):
        ca.kill9(room)
    ca.wait_until_it_answers()
    eventually_agree(ca)
    assert reconcile(ca)["missing"] == []

    # Once more, and nobody stops the CA for it, nor takes the old WAL away.
    shutil.copy(ca.directory / "backup" / "ca.sqlite", ca.data / "put-back")
    (ca.data / "put-back").replace(ca.data / "ca.sqlite")
    deadline = time.monotonic() + SOON
    while "restored" not in [each["subject"] for each in reconcile(ca).get("missing", [])]:
        assert [says(ca, each)[0] for each in (*before[:2], *after)] == ["revoked"] * 5
        assert time.monotonic() < deadline, ca.log_end()
    assert [says(ca, each)[0] for each in (*before[:2], *after)] == ["revoked"] * 5
    reconcile(ca, "--accept", "a drill")
    eventually_agree(ca)
    assert says(ca, before[2]) == agreement.GOOD
    assert "begins anew" in (ca.data / "log" / "keeper.log").read_text()


async def subscribe(
    ca: RunningCa, label: str, count: int, revoke: list[int], seconds: float = 60
) -> list[bytes]:
    """Chains of `count` new certificates."""
    http01 = ChallengeServer()
    await http01.start("127.0.0.1", ca.http_port)
    try:
        async with open_session(str(ca.trust_anchor), 8) as session:
            subscriber = await Subscriber.register(session, ca.directory_url, http01)
            chains = []
            for number in range(count):
                ended = await subscriber.obtain(f"{label}-{number}.restore.example.com", seconds)
                assert ended.status == "valid"
                chains.append(ended.chain)
            for number in revoke:
                await subscriber.revoke(chains[number], reason=4)
            return chains
    finally:
        await http01.stop()


def revoke_all(ca: RunningCa, chains: list[bytes]) -> None:
    for chain in chains:
        serial = x509.load_pem_x509_certificate(chain).serial_number
        words = ["revoke", f"{serial:x}", "--cause", "subscriber-request", "--reason", "superseded"]
        subprocess.run(ca.command(*words), cwd=REPOSITORY, check=True, capture_output=True)


def reconcile(ca: RunningCa, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        ca.command("reconcile", *words, "--json"), cwd=REPOSITORY, check=False, capture_output=True
    )
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found


def eventually_agree(ca: RunningCa) -> None:
    """Within seconds of the last revocation nobody contradicts anybody."""
    deadline = time.monotonic() + SOON
    while found := contradictions(ca):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def contradictions(ca: RunningCa) -> list[str]:
    reader = Reader(ca.data / "ca.sqlite")
    try:
        register = agreement.rows(reader)
        issuers = {row["id"]: row for row in reader.all("SELECT * FROM issuers")}
        shards = {(id, shard) for id, row in issuers.items() for shard in range(row["crl_shards"])}
        before = agreement.before(reader, shards)
    finally:
        reader.close()
    crls = {scope: crl for scope in shards if (crl := get(ca, f"crl/{scope[0]}-{scope[1]}.crl"))}
    responders = [id for id, row in issuers.items() if row["use"] == "issuing"]
    answers: dict[str, dict[bytes, bytes]] = {"POST": {}, "GET": {}}
    for row in register:
        if row.issuer_id in responders:
            asked = request(issuers[row.issuer_id]["certificate"], row.serial)
            post = ca.get(f"{ca.public_url}/ocsp", asked, "application/ocsp-request")
            answers["POST"][row.serial] = post
            path = quote(base64.b64encode(asked).decode(), safe="")
            answers["GET"][row.serial] = ca.get(f"{ca.public_url}/ocsp/{path}")
    return agreement.contradictions(register, answers, crls, responders, before)


def says(ca: RunningCa, chain: bytes) -> agreement.Word:
    leaf, issuer = x509.load_pem_x509_certificates(chain)[:2]
    serial = leaf.serial_number.to_bytes(leaf.serial_number.bit_length() // 8 + 1)
    asked = request(issuer.public_bytes(Encoding.DER), serial)
    return agreement.ocsp_word(ca.get(f"{ca.public_url}/ocsp", asked, "application/ocsp-request"), serial)


def request(issuer: bytes, serial: bytes) -> bytes:
    by_hash = {name: (names, keys) for name, names, keys in certid_hashes(issuer)}
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        *by_hash["sha256"], int.from_bytes(serial), hashes.SHA256()
    )
    return builder.build().public_bytes(Encoding.DER)


def crl_numbers(ca: RunningCa) -> dict[str, int]:
    found = {}
    for path in (ca.data / "repository" / "crl").glob("*.crl"):
        crl = x509.load_der_x509_crl(path.read_bytes())
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value
        if not path.name.startswith("root-"):
            found[path.name] = number.crl_number
    return found


def get(ca: RunningCa, name: str) -> bytes | None:
    try:
        return ca.get(f"{ca.public_url}/{name}")
    except urllib.error.HTTPError:
        return None
