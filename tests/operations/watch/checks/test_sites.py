"""operations/watch/checks/sites.py: a test site that does not show what it should."""

from __future__ import annotations

import pytest

from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import one
from tests.support.paper_ca import DAY


async def test_a_valid_site_that_has_expired_as_they_do_when_renewal_broke_in_silence(
    watching: Watching,
) -> None:
    await watching.ca.site("valid", watching.ca.now - 90 * DAY, watching.ca.now - DAY)
    one(await watching.not_well(), "site-valid", "expired 1.0 d ago: the site should show one that is valid")


async def test_a_site_that_is_renewed_late_is_told_before_it_ends(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - 86 * DAY, watching.ca.now + 4 * DAY)
    one(await watching.not_well(), "site-valid", "was not renewed")


@pytest.mark.clause("BR 2.2")
async def test_a_revoked_site_that_is_good(watching: Watching) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    del watching.ca.revoked[serial]
    one(await watching.not_well(), "site-revoked", "OCSP says good of the revoked site's certificate")


@pytest.mark.clause("BR 2.2")
async def test_a_revoked_site_that_has_expired(watching: Watching) -> None:
    await watching.ca.site("revoked", watching.ca.now - 90 * DAY, watching.ca.now - DAY)
    one(await watching.not_well(), "site-revoked", "should show one that is revoked")


async def test_a_revoked_site_that_is_on_no_crl(watching: Watching) -> None:
    serial = await watching.ca.site("revoked", watching.ca.now - DAY, watching.ca.now + 60 * DAY)
    watching.ca.crl_leaves_out.add(serial)
    one(await watching.not_well(), "site-revoked", "the CRL says good of the revoked site's")


@pytest.mark.clause("BR 2.2")
async def test_an_expired_site_that_is_valid(watching: Watching) -> None:
    await watching.ca.site("expired", watching.ca.now - DAY, watching.ca.now + DAY)
    one(await watching.not_well(), "site-expired", "has not expired")


async def test_an_expired_site_that_is_revoked(watching: Watching) -> None:
    serial = await watching.ca.site("expired", watching.ca.now - 3 * DAY, watching.ca.now - DAY)
    watching.ca.revoke(serial)
    one(await watching.not_well(), "site-expired", "OCSP says revoked of the expired site's")


async def test_a_site_with_a_certificate_of_somebody_else(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + DAY, by=watching.ca.stranger)
    one(await watching.not_well(), "site-valid", "does not verify up to the trust anchor")


async def test_a_site_with_another_name(watching: Watching) -> None:
    await watching.ca.site("valid", watching.ca.now - DAY, watching.ca.now + 60 * DAY, name="other.example")
    one(await watching.not_well(), "site-valid", "does not verify up to the trust anchor")


async def test_a_site_where_nobody_is(watching: Watching) -> None:
    watching.ca.sites["expired"].close()
    one(await watching.not_well(), "site-expired", "no TLS")
