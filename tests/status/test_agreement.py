"""OCSP and CRL are two readers of one revocation row: whatever happens, they agree."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from core import certificates
from core.clock import FakeClock
from core.data_directory import DataDirectory
from core.database import Reader
from core.issuers import Issuer, put_issuer
from core.settings import Settings, Status
from repo_static.store import Store
from tests.support.database import NOW, opened
from tests.support.revoking import revoke_if_it_can_be
from tests.support.software_vault import DAY, SoftwareVault

Act = tuple[str, int]
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("issue"), st.integers(1, 5)),  # days of validity
        st.tuples(st.just("precertify"), st.integers(1, 5)),
        st.tuples(st.just("reserve"), st.just(0)),
        st.tuples(st.just("lose"), st.just(0)),
        st.tuples(st.just("revoke"), st.integers(0, 30)),  # which serial
        st.tuples(st.just("compromise"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 50)),  # hours
        st.tuples(st.just("publish"), st.just(0)),
        st.tuples(st.just("keep"), st.just(0)),  # the keeper signs ahead
    ),
    max_size=25,
)


@pytest.mark.clause("RFC 6960 section 2.2; RFC 5280 section 5")
@given(acts=ACTS)
@settings(max_examples=25, deadline=None)
def test_ocsp_and_crl_agree_after_any_history(house_class: Any, keeper_class: Any, acts: list[Act]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_play(house_class, keeper_class, Path(directory), acts))


async def _play(house_class: Any, keeper_class: Any, directory: Path, acts: list[Act]) -> None:
    clock, data, vault = FakeClock(NOW), DataDirectory(directory), SoftwareVault(NOW + 365 * DAY)
    data.repository.mkdir()
    async with opened(directory, clock) as database:
        for info in vault.description().issuers:
            issuer = Issuer(info.id, str(info.use), info.algorithm, info.certificate, b"", 1)
            await database.write(lambda tx, issuer=issuer: put_issuer(tx, issuer))  # type: ignore[misc]
        reader = Reader(data.database)
        values = replace(Settings(), status=Status(crl_refresh=DAY))
        house = house_class(data, clock, database, vault, values, reader)
        updater = house.updater()
        keeper = keeper_class(house)
        drawn: list[bytes] = []
        for kind, argument in acts:
            if kind == "issue":
                drawn.append(await house.issue(days=argument))
            elif kind == "precertify":
                drawn.append(await house.precertify(days=argument))
            elif kind == "reserve":
                drawn.append(await house.reserve())
            elif kind == "lose":
                lost = await house.reserve()
                await database.write(lambda tx, lost=lost: certificates.mark_lost(tx, lost.hex()))  # type: ignore[misc]
                drawn.append(lost)
            elif kind in ("revoke", "compromise") and drawn:
                await revoke_if_it_can_be(house, drawn[argument % len(drawn)], kind)
            elif kind == "wait":
                clock.at += argument * 3600
            elif kind == "publish":
                await updater.update()
            elif kind == "keep":
                await keeper.work()
        await updater.update()
        await _agree(house, drawn)
        await keeper.work()
        signed = len(vault.ocsp_requests)
        await _agree(house, drawn)
        asked_live = {each.serial for each in vault.ocsp_requests[signed:]}
        assert all(certificates.by_serial(reader, each).not_after < clock.now() for each in asked_live)  # type: ignore[union-attr]
        keeper.stop()
        reader.close()


async def _agree(house: Any, drawn: list[bytes]) -> None:
    content = Store(house.data.repository).read("crl/ec1-0.crl")
    assert content is not None
    listed = {entry.serial_number: entry for entry in x509.load_der_x509_crl(content)}
    for serial in drawn:
        response = await house.ask(serial)
        entry = listed.pop(int.from_bytes(serial, "big"), None)
        if response.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
            assert entry is None
            continue
        row = certificates.by_serial(house.reader, serial)
        if response.certificate_status is ocsp.OCSPCertStatus.GOOD:
            assert entry is None
        elif entry is None:
            assert row.not_after < house.clock.now()  # it left the CRL after it had expired, never before
        else:
            assert entry.revocation_date_utc == response.revocation_time_utc
            assert _reason(entry) is response.revocation_reason
    assert listed == {}


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
