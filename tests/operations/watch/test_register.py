"""A CA that was put back from a backup with all that it has: who watches from outside remembers."""

from __future__ import annotations

from pathlib import Path

from operations.watch.finding import State
from operations.watch.kept import Kept
from tests.operations.watch.conftest import Watching
from tests.operations.watch.expected import one


async def test_a_register_that_was_put_back_though_its_manifests_number_rises(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.manifest_number = 200
    for version, sequence, digest in ((69, 950, "bb"), (70, 899, "bb"), (70, 900, "bb")):
        watching.ca.register = {
            "revocation_version": version,
            "audit": {"sequence": sequence, "hash": digest},
        }
        for _ in range(2):  # until it is reconciled, and not until the next look
            found = await watching.not_well()
            one(found, "register", "the register is behind, or another one")
            assert "acme-server reconcile --restored" in found[0].remedy


async def test_a_register_that_was_put_back_and_reconciled_is_told_once(watching: Watching) -> None:
    assert await watching.not_well() == []
    watching.ca.register = {"revocation_version": 71, "audit": {"sequence": 850, "hash": "bb"}}
    one(await watching.not_well(), "register", "was restored, and reconciled", State.WARN)
    assert await watching.not_well() == []


async def test_a_manifest_that_does_not_tell_of_its_register(watching: Watching) -> None:
    watching.ca.register = {}
    one(await watching.not_well(), "register", "does not tell how far")


async def test_the_newest_files_are_kept_and_nothing_older_takes_their_place(
    watching: Watching, tmp_path: Path
) -> None:
    watching.kept = Kept(tmp_path / "kept")
    assert await watching.not_well() == []
    files = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*.*")}
    assert files == {
        *("manifest.jws", "history.jsonl", "crl/ec-1-0.crl", "crl/root-0.crl"),
        *("issued/2026-11-30.jsonl", "revoked/2026-11-30.jsonl"),
    }
    before = {name: (tmp_path / "kept" / name).read_bytes() for name in files}
    assert before["crl/root-0.crl"] == watching.ca._root_crl
    watching.ca.register = {"revocation_version": 1, "audit": {"sequence": 9, "hash": "bb"}}
    watching.ca.crl_number += 1
    watching.kept = Kept(tmp_path / "kept")
    one(await watching.not_well(), "register", "the register is behind")
    assert {name: (tmp_path / "kept" / name).read_bytes() for name in files} == before
