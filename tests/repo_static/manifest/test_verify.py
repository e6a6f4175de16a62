"""What a stranger, a mirror and an operator can check of a repository by themselves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from core.settings import Repository as RepositorySettings
from operations.cli import application
from repo_static import app, publisher
from repo_static.manifest import verify
from repo_static.manifest.signature import NotSigned
from repo_static.manifest.updater import ManifestUpdater
from signer.api import CrlRequest
from tests.repo_static.manifest.conftest import Repository
from tests.support.software_vault import DAY, keys, signed_manifest

PROGRAM = Path(__file__).parents[3] / "examples" / "verify_repository.py"


@pytest.fixture
async def served(repository: Repository) -> AsyncIterator[Repository]:
    """A repository of this moment, served under the URL that it names."""
    import time

    house = repository.house
    house.clock.at = int(time.time())  # the program has the real clock
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", app.handler(repository.store.root))
    server = TestServer(application)
    await server.start_server()
    base = f"http://127.0.0.1:{server.port}"
    house.settings = replace(house.settings, repository=RepositorySettings(base_url=base))
    publisher.publish(repository.store, house.vault.description(), house.settings)
    serial = await house.issue()
    await house.revoke(serial, 1)
    await house.updater().update()
    repository.updater = ManifestUpdater(
        house.data.database, house.vault, house.settings, repository.store, house.clock
    )
    await repository.updater.update()
    yield repository
    await server.close()


async def verified(served: Repository, *options: str) -> tuple[int, str, str]:
    base = served.house.settings.repository.base_url
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), base, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def signed_again(served: Repository, **changes: object) -> None:
    """Another manifest by the same key: what a liar with the key could publish."""
    manifest = served.manifest() | changes
    payload = json.dumps(manifest).encode()
    served.store.replace("manifest.json", payload)
    served.store.replace("manifest.jws", signed_manifest(payload, keys("ec", "manifest-1")))


async def test_a_stranger_finds_all_well(served: Repository, tmp_path: Path) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(served.house.vault.root.certificate.public_bytes(Encoding.PEM))
    _, (thumbprint,) = verify.published(served.store.root)
    code, out, err = await verified(served, "--key", thumbprint, "--root", str(root))
    assert (code, out) == (0, ""), out + err
    assert err.endswith("all is well\n")


async def test_a_stranger_is_told_by_which_key_when_he_trusts_none(served: Repository) -> None:
    _, (thumbprint,) = verify.published(served.store.root)
    code, _, err = await verified(served)
    assert code == 0
    assert thumbprint in err


OLD = "import cryptography; cryptography.__version__ = '38.0.4'"
NONE = "import sys; sys.modules['cryptography'] = None"
RUN = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.parametrize("library", [OLD, NONE], ids=["old", "none"])
def test_a_library_that_does_not_suffice_is_no_fault_of_the_repository(library: str) -> None:
    words = [sys.executable, "-c", f"{library}; {RUN}", str(PROGRAM), "http://127.0.0.1:9"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the library `cryptography`" in done.stderr
    assert "42 or newer" in done.stderr


async def test_another_key_is_a_fault(served: Repository) -> None:
    for key in ("A" * 43, "-" + "A" * 42):
        code, out, _ = await verified(served, "--key", key)
        assert code == 1
        assert "none of which you trust" in out


async def test_another_root_is_a_fault(served: Repository, tmp_path: Path) -> None:
    other = tmp_path / "root.pem"
    other.write_bytes(served.house.vault.issuers["ec1"].certificate.public_bytes(Encoding.PEM))
    code, out, _ = await verified(served, "--root", str(other))
    assert code == 1
    assert "not the root that you gave" in out
    assert "the root did not sign" in out


async def test_every_changed_file_is_a_fault(served: Repository) -> None:
    today = served.manifest()["days"]["open"]["date"]
    names = ["issuers/ec1-chain.pem", "issuers/rsa1.crt", f"issued/{today}.jsonl", "cps/cp-cps-1.0.en.md"]
    for name in names:
        (served.store.root / name).write_bytes(b"another")
    (served.store.root / f"revoked/{today}.jsonl.gz").unlink()
    code, out, _ = await verified(served)
    assert code == 1
    for name in (*names, f"revoked/{today}.jsonl.gz"):
        assert name in out
    found = "\n".join(verify.faults(served.store.root))
    assert f"revoked/{today}.jsonl.gz: missing" in found
    assert "issuers/rsa1.crt: other content" in found


async def test_a_newer_crl_than_the_manifests_is_fine_and_an_older_or_forged_one_is_not(
    served: Repository,
) -> None:
    vault, now = served.house.vault, served.house.clock.now()
    newer = CrlRequest("ec1", 0, 5, now, now + 7 * DAY, ())
    served.store.replace("crl/ec1-0.crl", vault.crl(newer))
    assert (await verified(served))[0] == 0
    for bad, why in (
        (vault.crl(replace(newer, number=0)), "it is old"),
        (vault.crl(newer, "rsa1"), "its issuer did not sign it"),
        (vault.crl(replace(newer, number=1)), "has other octets"),
        (vault.crl(replace(newer, this_update=now - 2 * DAY, next_update=now - DAY)), "stale"),
    ):
        served.store.replace("crl/ec1-0.crl", bad)
        code, out, _ = await verified(served)
        assert code == 1
        assert why in out


async def test_an_old_manifest_is_a_fault(served: Repository) -> None:
    signed_again(served, next_update="2026-01-01T00:00:00Z")
    code, out, _ = await verified(served)
    assert code == 1
    assert "a newer one should be there" in out


async def test_counts_that_the_lists_do_not_bear_out_are_a_fault(served: Repository) -> None:
    days = served.manifest()["days"]
    days["open"]["revoked"]["count"] = 0
    signed_again(served, days=days)
    code, out, _ = await verified(served)
    assert code == 1
    assert "0 serial numbers, and the list has 1" in out


async def test_a_broken_signature_and_a_missing_manifest_are_not_readable(served: Repository) -> None:
    path = served.store.root / "manifest.jws"
    path.write_bytes(path.read_bytes().replace(b'"payload": "', b'"payload": "AAAA'))
    code, _, err = await verified(served)
    assert code == 2
    assert "no signed manifest" in err
    path.unlink()
    assert (await verified(served))[0] == 2
    with pytest.raises(NotSigned, match="missing"):
        verify.faults(served.store.root)


async def test_a_copy_of_the_tree_elsewhere_is_checked_under_its_own_name(served: Repository) -> None:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", app.handler(served.store.root))
    mirror = TestServer(application)
    await mirror.start_server()
    original = served.house.settings.repository.base_url
    served.house.settings = replace(
        served.house.settings, repository=RepositorySettings(base_url=f"http://127.0.0.1:{mirror.port}")
    )
    code, out, err = await verified(served)
    await mirror.close()
    assert (code, out) == (0, "")
    assert f"the manifest is of {original}; this is a mirror of it" in err


async def test_the_operator_has_key_ccadb_and_verify_while_nothing_runs(served: Repository) -> None:
    data = ["--data", str(served.house.data.root)]
    runner = CliRunner()
    told = runner.invoke(application, ["repository", "verify", *data])
    assert (told.exit_code, "the tree is what it says" in told.output) == (0, True)
    _, (thumbprint,) = verify.published(served.store.root)
    assert runner.invoke(application, ["repository", "key", *data]).output == f"{thumbprint}\n"
    told = runner.invoke(application, ["repository", "ccadb", *data])
    base = served.house.settings.repository.base_url
    assert f"Full CRL Issued By This CA     {base}/crl/ec1-0.crl\n" in told.output
    assert 'JSON Array of Partitioned CRLs [""]' in told.output
    told = runner.invoke(application, ["repository", "ccadb", "--json", *data])
    assert {each["id"] for each in json.loads(told.output)} == {"ec1", "rsa1"}
    (served.store.root / "trust-anchor.crt").write_bytes(b"another")
    told = runner.invoke(application, ["repository", "verify", *data])
    assert told.exit_code == 4
    assert "trust-anchor.crt: other content than the manifest says" in told.output


def test_before_the_first_manifest_the_commands_say_when_it_comes(tmp_path: Path) -> None:
    (tmp_path / "repository").mkdir()
    told = CliRunner().invoke(application, ["repository", "key", "--data", str(tmp_path)])
    assert told.exit_code == 4


async def test_the_status_screen_tells_when_the_manifest_grows_stale(served: Repository) -> None:
    root, now = served.store.root, served.house.clock.now()
    said = verify.standing(root, now)
    assert (said["sequence"], said["alarm"]) == (served.manifest()["sequence"], "")
    assert "stale" in verify.standing(root, now + 2 * DAY)["alarm"]
    (root / "manifest.jws").write_bytes(b"{}")
    assert "no signed manifest" in verify.standing(root, now)["alarm"]
    (root / "manifest.jws").unlink()
    assert verify.standing(root, now) == {"sequence": 0, "next_update": "", "alarm": ""}
