"""operations/watch/checks/manifest.py: one thing at a time that is not well."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import b64
from josepy.jwk import JWKEC

from operations.watch.finding import State
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import CRL, one
from tests.support.paper_ca import DAY, HOUR, Page


@pytest.mark.parametrize("octets", [b'"sequence": 101', b'"sequence": 99'])
async def test_an_altered_manifest(watching: Watching, octets: bytes) -> None:
    jws = json.loads(watching.ca.jws(json.dumps(watching.ca.manifest()).encode()))
    payload = b64.b64decode(jws["payload"]).replace(b'"sequence": 100', octets)
    jws["payload"] = b64.b64encode(payload).decode()
    watching.ca.files["/manifest.jws"] = Page(json.dumps(jws).encode())
    one(await watching.not_well(), "repository", "a signature of the manifest is wrong")


async def test_a_manifest_by_another_key_than_the_pinned(watching: Watching) -> None:
    watching.manifest_key = b64.b64encode(JWKEC(key=watching.ca.manifest_key).thumbprint()).decode()
    assert await watching.not_well() == []
    watching.ca.manifest_key = ec.generate_private_key(ec.SECP256R1())
    one(await watching.not_well(), "repository", "and not by the pinned")


async def test_something_else_that_the_manifest_key_signed(watching: Watching) -> None:
    watching.ca.manifest_typ = "something-else+json"
    one(await watching.not_well(), "repository", "signed in a way that is not agreed upon")


async def test_a_manifest_whose_number_fell(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.manifest_number = 99
    one(await watching.not_well(), "manifest", "fell from 100 to 99")


async def test_a_manifest_out_of_date(watching: Watching) -> None:
    watching.ca.manifest_next = watching.ca.now - HOUR
    one(await watching.not_well(), "manifest", "out of date: nextUpdate was 1.0 h ago")


async def test_a_manifest_that_soon_will_be(watching: Watching) -> None:
    watching.ca.manifest_this, watching.ca.manifest_next = watching.ca.now - 2 * DAY, watching.ca.now + HOUR
    one(await watching.not_well(), "manifest", "is 2.0 d old and ends in", State.WARN)


async def test_an_unsigned_manifest_that_says_something_else(watching: Watching) -> None:
    watching.ca.files["/manifest.json"] = Page(b'{"sequence": 100}')
    one(await watching.not_well(), "manifest", "other octets than those that were signed")


async def test_a_document_that_was_changed(watching: Watching) -> None:
    watching.ca.files["/cps/cp-cps-1.0.en.md"] = Page(b"# other")
    one(await watching.not_well(), "manifest-files", "another SHA-256 than the manifest says")


async def test_a_crl_that_is_not_the_one_of_the_manifest(watching: Watching) -> None:
    watching.ca.files[CRL] = Page(
        watching.ca.crl(), headers=watching.ca.crl_headers
    )  # the same number, signed once more
    watching.ca._kept_crl()
    one(await watching.not_well(), "manifest-crls", "another SHA-256")


async def test_a_crl_that_the_manifest_does_not_know(watching: Watching) -> None:
    watching.ca.bend = lambda said: said["crls"].pop()
    one(await watching.not_well(), "manifest-crls", "is not in the manifest")


async def test_a_daily_list_that_was_changed(watching: Watching) -> None:
    watching.ca.files["/issued.jsonl"] = Page(b"{}\n")
    one(await watching.not_well(), "manifest-list", "have another SHA-256")


@pytest.mark.clause("requirements 2.67")
async def test_a_precertificate_of_the_daily_list_that_ocsp_does_not_know(watching: Watching) -> None:
    watching.ca.listed["issued"].add(4711)
    one(await watching.not_well(), "manifest-list", "was issued today, and OCSP says unauthorized")


async def test_a_revocation_of_the_daily_list_that_is_public_nowhere(watching: Watching) -> None:
    watching.ca.listed["revoked"].add(watching.ca.issue())
    one(await watching.not_well(), "manifest-list", "was revoked today, and OCSP says good")


async def test_a_revocation_of_the_daily_list_that_is_on_no_crl(watching: Watching) -> None:
    serial = watching.ca.revoke(watching.ca.issue())
    watching.ca.listed["revoked"].add(serial)
    watching.ca.crl_leaves_out.add(serial)
    one(await watching.not_well(), "manifest-list", "revoked an hour ago, and is on no CRL")
