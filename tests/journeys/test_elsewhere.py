"""A CA whose second perspective runs on "another host": from the set-up to a certificate, and without it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from core.data_directory import DataDirectory
from core.evidence import SignedStatement, key_id
from tests.support.books import Books
from tests.support.ca import REPOSITORY, RunningCa
from tests.support.clients import Certbot
from tests.support.elsewhere import OURS, ZONE, Pki
from tests.support.remote_host import RemoteHost
from tests.world.world import World

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@dataclass
class Both:
    """The CA, and the host of its remote perspective."""

    ca: RunningCa
    host: RemoteHost

    def status(self) -> dict:
        """What `acme-server status` says of the perspectives elsewhere."""
        ran = subprocess.run(
            self.ca.command("status", "--json"), cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        (found,) = json.loads(ran.stdout)["perspectives"]["elsewhere"]
        return found


@pytest.fixture(scope="module")
def both(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    path = tmp_path_factory.mktemp("both")
    config = path / "config.toml"
    ca = RunningCa(path / "ca", {"validation.resolvers": [world.resolver]}, config=config)
    pki, data = Pki(path / "root"), DataDirectory(ca.data)
    pki.coordinator(data)
    validation = {
        "resolvers": [world.resolver],
        "http_port": ca.http_port,
        "allowed_networks": ["127.0.0.0/8", "::1/128"],
    }
    host = RemoteHost(path / "oslo", pki, "oslo", "RIPE NCC", validation)
    config.write_text(
        f'[ca]\ncaa_identities = ["{OURS}"]\n[mpic]\nzone = "{ZONE}"\n'
        '[[validation.perspectives]]\ncode = "local"\n'
        f'[[validation.perspectives]]\ncode = "oslo"\nregion = "RIPE NCC"\nurl = "{host.perspective.url}"\n'
    )
    data.perspective("oslo").mkdir(parents=True)
    (data.perspective("oslo") / "public.pem").write_bytes(
        host.public_key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    try:
        with host:
            ca.start()
            yield Both(ca, host)
    finally:
        ca.stop()


@pytest.mark.row("mpic.channel", "mpic.stateless")
@pytest.mark.clause("BR 3.2.2.9")
def test_a_certificate_rests_on_a_statement_that_came_from_the_other_host(
    both: Both, door: str, tmp_path: Path
) -> None:
    certbot = Certbot(both.ca, tmp_path / "certbot", door)
    ran = certbot.dns01("elsewhere.example.com")
    assert ran.code == 0, ran.output
    with Books(both.ca).database() as db:
        row = db.one("SELECT evidence FROM certificates WHERE names LIKE '%elsewhere.example.com%'")
    assert row is not None
    statements = msgspec.msgpack.decode(row["evidence"], type=tuple[SignedStatement, ...])
    by = {one.statement().perspective: one.key_id for one in statements}
    assert by.keys() == {"local", "oslo"}
    assert by["oslo"] == key_id(both.host.public_key)
    assert len(both.ca.processes("perspective")) == 1


def test_status_says_how_the_perspective_elsewhere_is(both: Both) -> None:
    found = both.status()
    assert (found["code"], found["well"], found["wrong"]) == ("oslo", True, "")
    assert "its certificate ends" in found["says"]
    both.host.kill()
    try:
        away = both.status()
    finally:
        both.host.start()
    assert not away["well"]
    assert away["says"].startswith("AWAY: ")
