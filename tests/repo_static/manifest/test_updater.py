"""The manifest is true of the tree, new in time, and never older than the one before."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography import x509

from core import gaps
from core.errors import TransientError
from core.settings import Status
from repo_static import rendering
from repo_static.manifest import signature
from repo_static.manifest.document import ccadb
from repo_static.store import NotPublished
from tests.repo_static.manifest.conftest import BASE, Repository
from tests.support.software_vault import keys, signed_manifest

SCHEMA = json.loads((rendering.CONTENT / "manifest.schema.json").read_text())


def files(said: Any) -> Iterator[dict[str, Any]]:
    """Every file that is named with its digest."""
    if isinstance(said, dict):
        if {"url", "size", "sha256"} <= said.keys():
            yield said
        for each in said.values():
            yield from files(each)
    elif isinstance(said, list):
        for each in said:
            yield from files(each)


@pytest.mark.clause("requirements 1.07")
async def test_every_file_that_it_names_is_public_and_has_its_digest(repository: Repository) -> None:
    await repository.house.revoke(await repository.house.issue())
    await repository.house.updater().update()
    named = list(files(await repository.published()))
    for each in named:
        content = repository.store.read(each["url"].removeprefix(f"{BASE}/")) or b""
        assert (len(content), hashlib.sha256(content).hexdigest()) == (each["size"], each["sha256"])
    names = {each["url"].removeprefix(f"{BASE}/") for each in named}
    public = {
        name
        for directory in ("crl", "cps", "issued", "revoked")
        for name in repository.store.names(directory)
        if name != "cps/index.html"
    }
    assert public <= names


async def test_it_is_as_the_schema_says(repository: Repository) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    await repository.house.updater().update()
    validator.validate(await repository.published())
    repository.house.clock.at += 3 * 86400
    manifest = await repository.published()
    validator.validate(manifest)
    history = repository.lines(manifest["days"]["history"])
    assert len(history) == 2  # the third day may still have a commit on its way
    for each in history:
        validator.evolve(
            schema=SCHEMA["properties"]["days"]["properties"]["open"] | {"$defs": SCHEMA["$defs"]}
        ).validate(each)


async def test_the_schema_describes_every_member(repository: Repository) -> None:
    def undescribed(said: Any, schema: Any, path: str) -> Iterator[str]:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for option in schema.get("oneOf", ()):
            if said is not None and option != {"type": "null"}:
                yield from undescribed(said, option, path)
        if isinstance(said, dict) and "properties" in schema:
            yield from (f"{path}/{name}" for name in said.keys() - schema["properties"].keys())
            for name in said.keys() & schema["properties"].keys():
                yield from undescribed(said[name], schema["properties"][name], f"{path}/{name}")
        if isinstance(said, list):
            for each in said:
                yield from undescribed(each, schema["items"], path)

    await repository.house.updater().update()
    assert list(undescribed(await repository.published(), SCHEMA, "")) == []
    assert (repository.store.read("manifest.schema.json") or b"").decode() == json.dumps(
        SCHEMA, indent=1
    ) + "\n"


async def test_a_crl_is_told_with_its_number_times_and_revocation_version(repository: Repository) -> None:
    house = repository.house
    await house.revoke(await house.issue("ec1"))
    await house.updater().update()
    manifest = await repository.published()
    (told,) = (each for each in manifest["crls"] if each["issuer"] == "ec1")
    crl = x509.load_der_x509_crl(repository.store.read("crl/ec1-0.crl") or b"")
    assert told["number"] == crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert (told["this_update"], told["next_update"]) == ("2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z")
    assert (told["entries"], told["revocation_version"]) == (1, 1)
    assert manifest["register"]["revocation_version"] == 1
    assert manifest["register"]["audit"]["sequence"] > 0
    assert {each["issuer"] for each in manifest["crls"]} == {"root", "ec1", "rsa1", "local1"}


class TestShards:
    @pytest.fixture
    def status_settings(self) -> Status:
        return Status(crl_shards=3)

    @pytest.mark.clause("CCADB policy 6.2")
    @pytest.mark.clause("requirements 2.65")
    async def test_ccadb_gets_every_shard_in_the_form_that_it_takes(self, repository: Repository) -> None:
        house = repository.house
        manifest = await repository.published()
        (ec1,) = (each for each in manifest["issuers"] if each["id"] == "ec1")
        assert ec1["ccadb"] == {"full_crl": "", "partitioned_crls": '[""]'}
        house.vault.shard_base = BASE
        await house.updater().update()
        manifest = await repository.published()
        (ec1,) = (each for each in manifest["issuers"] if each["id"] == "ec1")
        urls = [f"{BASE}/crl/ec1-{shard}.crl" for shard in range(3)]
        assert ec1["crls"] == urls
        assert json.loads(ec1["ccadb"]["partitioned_crls"]) == urls
        assert ec1["crl_shards"] == 3


def test_a_full_crl_is_the_other_field_of_ccadb() -> None:
    assert ccadb(["u"], 1) == {"full_crl": "u", "partitioned_crls": '[""]'}
    assert ccadb([], 1) == {"full_crl": "", "partitioned_crls": '[""]'}


async def test_its_number_rises_and_it_names_the_one_before(repository: Repository) -> None:
    first = await repository.published()
    digest = hashlib.sha256(repository.store.read("manifest.json") or b"").hexdigest()
    second = await repository.published()
    assert second["sequence"] == first["sequence"] + 1
    assert second["previous"] == {"sequence": first["sequence"], "sha256": digest}
    assert first["previous"] is None


async def test_its_number_rises_when_the_tree_is_lost(repository: Repository) -> None:
    for _ in range(3):
        first = await repository.published()
    for name in ("manifest.json", "manifest.jws"):
        (repository.store.root / name).unlink()
    repository.house.clock.at += 60
    assert (await repository.published())["sequence"] > first["sequence"]


@pytest.mark.clause("BR 2.3")
async def test_nothing_new_means_no_new_manifest_until_it_is_time(repository: Repository) -> None:
    assert await repository.updater.update() is True
    repository.house.clock.at += 3599
    assert await repository.updater.update() is False
    repository.house.clock.at += 1
    assert await repository.updater.update() is True
    manifest = repository.manifest()
    assert (manifest["this_update"], manifest["next_update"]) == (
        "2026-11-23T01:00:00Z",
        "2026-11-24T01:00:00Z",
    )


async def test_a_new_crl_a_new_issuer_and_a_new_document_each_mean_a_new_manifest(
    repository: Repository,
) -> None:
    await repository.updater.update()
    await repository.house.updater().update()
    assert await repository.updater.update() is True
    repository.store.add("issuers/ec2.crt", b"new")
    assert await repository.updater.update() is True
    repository.store.add("cps/cp-cps-2.0.en.md", b"new")
    assert await repository.updater.update() is True
    assert await repository.updater.update() is False
    assert "2.0" in {each["version"] for each in repository.manifest()["documents"]}


async def test_a_new_day_of_an_issuer_is_told_at_once_though_no_file_has_changed(
    repository: Repository,
) -> None:
    await repository.updater.update()
    assert await repository.updater.update() is False
    repository.updater.wake()
    assert await repository.updater.update() is True


async def test_a_locked_vault_leaves_the_last_manifest_and_its_next_update(repository: Repository) -> None:
    before = await repository.published()
    repository.house.vault.locked = True
    repository.house.clock.at += 7200
    with pytest.raises(TransientError, match="acme-server activate"):
        await repository.updater.update()
    assert repository.manifest() == before


async def test_a_restarted_process_makes_one_though_nothing_has_changed(repository: Repository) -> None:
    """It does not know what happened to the tree meanwhile."""
    await repository.updater.update()
    assert await repository.restarted().update() is True


async def test_an_older_manifest_does_not_replace_a_newer_one(repository: Repository) -> None:
    await repository.published()
    newer = repository.manifest()
    newer["sequence"] += 1_000_000

    async def overtaken(payload: bytes) -> bytes:
        repository.store.replace("manifest.json", json.dumps(newer).encode())
        return signed_manifest(payload, keys("ec", "manifest-1"))

    repository.house.vault.sign_manifest = overtaken  # type: ignore[method-assign]
    with pytest.raises(NotPublished, match="not above the published one"):
        await repository.updater.update(force=True)
    assert json.loads(repository.store.read("manifest.json") or b"") == newer


@pytest.mark.clause("CPS 5.7.4")
async def test_one_that_is_made_from_an_older_revocation_version_does_not_replace_it(
    repository: Repository,
) -> None:
    await repository.house.revoke(await repository.house.issue())
    await repository.published()
    before = repository.store.read("manifest.jws")
    await repository.house.database.write(lambda tx: tx.execute("DELETE FROM revocations").rowcount)
    with pytest.raises(NotPublished, match="revocation version 0, but one of version 1"):
        await repository.restarted().update(force=True)
    assert repository.store.read("manifest.jws") == before


@pytest.mark.clause("CPS 5.7.4")
async def test_none_is_made_while_the_register_is_not_reconciled(repository: Repository) -> None:
    await repository.published()
    before = repository.store.read("manifest.jws")
    await repository.house.database.write(lambda tx: gaps.revocations_unknown(tx, tx.now, "a test"))
    with pytest.raises(gaps.RegisterBehind):
        await repository.restarted().update(force=True)
    assert repository.store.read("manifest.jws") == before


async def test_what_the_vault_did_not_sign_is_not_published(repository: Repository) -> None:
    before = await repository.published()
    key = keys("ec", "manifest-1")

    async def other(payload: bytes) -> bytes:
        return signed_manifest(payload + b" ", key)

    async def broken(payload: bytes) -> bytes:
        return signed_manifest(payload, key).replace(b'"signature": "', b'"signature": "AA')

    async def of_another_kind(payload: bytes) -> bytes:
        return signed_manifest(payload, key, typ="JWT")

    for signer, error in (
        (other, NotPublished),
        (broken, signature.NotSigned),
        (of_another_kind, signature.NotSigned),
    ):
        repository.house.vault.sign_manifest = signer  # type: ignore[method-assign]
        with pytest.raises(error):
            await repository.updater.update(force=True)
        assert repository.manifest() == before


class Crash(BaseException):
    """The process is gone."""


async def test_a_crash_between_two_files_leaves_a_manifest_that_is_true(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each rename in turn: the signed manifest that is public then names what is there."""
    house, store = repository.house, repository.store
    await house.issue()
    await repository.published()
    rename = os.replace
    left = 0

    def renamed(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        rename(source, target)

    issued = 1
    for survivors in range(20):
        await house.issue()
        issued += 1
        left = survivors
        monkeypatch.setattr(os, "replace", renamed)
        with contextlib.suppress(Crash):
            await repository.restarted().update(force=True)
        monkeypatch.setattr(os, "replace", rename)
        signed = json.loads(signature.read(store.read("manifest.jws") or b"").payload)
        for each in files(signed):
            content = store.read(each["url"].removeprefix(f"{BASE}/")) or b""
            assert hashlib.sha256(content[: each["size"]]).hexdigest() == each["sha256"]
        for variant in store.root.glob("manifest.*.gz"):
            assert gzip.decompress(variant.read_bytes()) == variant.with_suffix("").read_bytes()
        house.clock.at += 1
        if left:
            break
    assert survivors == 7  # two lists and two manifests, each with its variant; all were made this time
    await repository.restarted().update(force=True)
    assert repository.manifest()["days"]["open"]["issued"]["count"] == issued


async def test_an_announced_issuer_stands_in_it_before_it_signs(repository: Repository) -> None:
    description = repository.house.vault.description()
    ec1, *rest = description.issuers
    planned = replace(ec1, id="ec2", state="planned")
    retired = replace(ec1, state="retired", until=1_795_392_000)

    async def describe() -> Any:
        return replace(description, issuers=(retired, planned, *rest))

    repository.house.vault.describe = describe  # type: ignore[method-assign]
    told = {each["id"]: each for each in (await repository.published())["issuers"]}
    assert (told["ec2"]["state"], told["ec2"]["signs_from"]) == ("planned", None)
    assert (told["ec1"]["state"], told["ec1"]["signs_until"]) == ("retired", "2026-11-23T00:00:00Z")
    assert (told["local1"]["use"], told["local1"]["ocsp"]) == ("local-service", None)
    assert told["ec1"]["ocsp"] == f"{BASE}/ocsp"


def test_the_words_that_are_signed_are_those_that_the_vault_writes() -> None:
    from signer.vault.status import manifests

    assert signature.TYP == manifests.TYP


@pytest.mark.clause("requirements 1.06")
async def test_a_clock_that_stepped_back_stops_no_manifest(repository: Repository) -> None:
    before = await repository.published()
    repository.house.clock.at -= 3600
    after = await repository.published()
    assert after["sequence"] > before["sequence"]
    assert after["this_update"] == before["this_update"]
