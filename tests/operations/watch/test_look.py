"""A look as a whole: of a CA that is well, of one that is not there, and of faults of the watch itself."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from operations.watch.checks import documents
from operations.watch.finding import State
from operations.watch.scope import Anchor
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import one


async def test_of_a_ca_that_is_well_the_watch_says_so(watching: Watching) -> None:
    found = await watching.look()
    assert [each for each in found if each.state is not State.OK] == []
    assert {each.check for each in found} == {
        *("repository", "register", "page", "read-only", "issuer", "chain", "crl"),
        *("manifest", "manifest-files", "manifest-crls", "manifest-list"),
        *("ocsp-unassigned", "ocsp-and-crl", "site-valid", "site-revoked", "site-expired"),
        *("acme-directory", "acme-nonces", "acme-renewal-info"),
    }
    assert await watching.not_well() == []


async def test_a_ca_that_is_not_there(watching: Watching) -> None:
    await watching.ca.stop()
    one(await watching.not_well(), "repository", "manifest.jws")
    await watching.ca.start()


async def test_a_fault_of_a_check_is_told_and_hides_no_other(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> str:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(documents, "read_only", broken)
    one(await watching.not_well(), "read-only", "the check itself failed: KeyError")


async def test_words_of_a_stranger_drive_no_terminal(watching: Watching) -> None:
    watching.ca.bend = lambda said: said["issuers"][0].update(id="\x1b[2Jec-1\n")
    for each in await watching.look():
        assert f"{each.subject}{each.seen}".isprintable()


def test_a_pin_is_a_file_or_a_fingerprint(watching: Watching, tmp_path: Any) -> None:
    root = watching.ca.root
    for content in (root.der, root.pem):
        (tmp_path / "anchor").write_bytes(content)
        assert Anchor.read(str(tmp_path / "anchor")).fingerprint == watching.anchor.fingerprint
    shown = root.certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    assert Anchor.read(f"sha256:{shown}") == watching.anchor
    for wrong in ("sha256:abcd", str(tmp_path / "none")):
        with pytest.raises(Exception, match="--anchor"):
            Anchor.read(wrong)
