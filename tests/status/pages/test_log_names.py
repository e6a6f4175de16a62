"""status/pages/log_names.py: a person sees whose log promised, not an octet string alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from repo_static import publisher
from repo_static.store import Store
from status.pages.log_names import LogNames
from tests.status.pages.conftest import Site, serving
from tests.support.ct_log import CtLog, three, write_list
from tests.support.database import NOW


def with_scts(house: Any, serial: bytes, logs: list[CtLog]) -> str:
    """A leaf of ec1 (PEM) in which these logs promise; nobody checks the signatures here."""
    issuer = house.vault.issuers["ec1"]
    scts = [
        b"\0" + each.id + (1000 * NOW).to_bytes(8, "big") + b"\0\0" + b"\x04\x03" + b"\0\x02" + b"\x30\x00"
        for each in logs
    ]
    octets = b"".join(len(each).to_bytes(2, "big") + each for each in scts)
    value = len(octets).to_bytes(2, "big") + octets
    der = b"\x04\x81" + bytes([len(value)]) + value
    leaf = x509.load_pem_x509_certificate(house.vault.leaf("ec1", serial))
    builder = (
        x509.CertificateBuilder()
        .subject_name(leaf.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(leaf.public_key())
        .serial_number(leaf.serial_number)
        .not_valid_before(datetime.fromtimestamp(NOW, UTC))
        .not_valid_after(leaf.not_valid_after_utc)
        .add_extension(
            x509.UnrecognizedExtension(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, der),
            critical=False,
        )
    )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.fixture
async def listed(house: Any, tmp_path: Path) -> AsyncIterator[tuple[Site, list[CtLog]]]:
    """The pages of a CA whose list has the first two of three logs."""
    logs = three()
    for at, each in enumerate(logs):
        each.url = f"https://log{at}.example/"
    house.settings = replace(house.settings, ct=write_list(tmp_path, logs[:2], NOW))
    publisher.publish(Store(house.data.repository), house.vault.description(), house.settings)
    async with serving(house) as site:
        yield site, logs


async def test_a_log_that_the_list_knows_has_name_and_operator_and_another_its_id(
    listed: tuple[Site, list[CtLog]],
) -> None:
    site, logs = listed
    leaf = with_scts(site.house, await site.house.issue(), logs)
    answer = await site.post("/status/", {"certificate": leaf}, Accept="application/json")
    (found,) = json.loads(await answer.text())["certificates"]
    assert [each["name"] for each in found["logs"]] == [logs[0].name, logs[1].name, None]
    assert [each["operator"] is None for each in found["logs"]] == [False, False, True]
    for prefix in ("", "/ja"):
        page = await (await site.post(f"{prefix}/status/", {"certificate": leaf})).text()
        assert logs[0].name in page
        assert found["logs"][0]["operator"] in page
        assert all(each["log"] in page for each in found["logs"])


def test_without_a_good_list_no_log_has_a_name_and_nothing_fails(house: Any, tmp_path: Path) -> None:
    settings = write_list(tmp_path, three(), NOW)
    Path(settings.log_list).write_text("{")
    assert LogNames(settings, house.clock).of(bytes(32)) == ("", "")
    assert LogNames(house.settings.ct, house.clock).of(bytes(32)) == ("", "")
