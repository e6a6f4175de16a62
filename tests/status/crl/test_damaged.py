"""A public CRL that a disk has damaged: it keeps nothing from starting, and the next one takes its place."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from cryptography import x509

from core.errors import Refused
from repo_static.crls import public_crls
from repo_static.store import Store
from status.crl.scopes import scopes
from status.restored import outside

NAME = "crl/ec1-0.crl"


@pytest.mark.clause("BR 4.9.7")
@pytest.mark.parametrize("bit", [0x01, 0x10])
async def test_whatever_octet_is_damaged_the_crl_is_issued_anew(house: Any, bit: int) -> None:
    revoked = await house.issue()
    await house.revoke(revoked, 1)
    await house.updater().update()
    store, path = Store(house.data.repository), house.data.repository / NAME
    for at in range(0, len(path.read_bytes()), 3):
        damaged = bytearray(path.read_bytes())
        damaged[at % len(damaged)] ^= bit  # ECDSA signatures are of several lengths
        (new := path.with_suffix(".new")).write_bytes(damaged)
        os.replace(new, path)
        with contextlib.suppress(Refused):  # as the app does when it starts
            outside.crl(scopes(house.reader), bytes(damaged))
        public_crls(store)  # as the manifest does
        house.clock.at += 60
        assert await house.updater().update() == [NAME], at
        crl = x509.load_der_x509_crl(path.read_bytes())
        assert crl.get_revoked_certificate_by_serial_number(int.from_bytes(revoked)) is not None
