"""The key of the manifest that the CP/CPS states is the one that signs, also while it is being replaced."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.data_directory import DataDirectory
from core.settings import Settings
from operations.desk import document_calls
from repo_static.documents import text
from repo_static.documents.kinds import Document
from repo_static.manifest import signature, verify
from repo_static.store import NotPublished
from tests.repo_static.manifest.conftest import Repository
from tests.support import acme_client
from tests.support.software_vault import keys


def pin(label: str) -> str:
    return acme_client.thumbprint(keys("ec", label))


FIRST, SECOND = pin("manifest-1"), pin("manifest-2")


def stating(repository: Repository, *pins: str, signing: tuple[str, ...] = ("manifest-1",)) -> Settings:
    """The settings of a CA that was started with these keys and states these."""
    house = repository.house
    house.vault.manifest_keys = list(signing)
    house.settings = replace(
        house.settings, repository=replace(house.settings.repository, manifest_pins=pins)
    )
    repository.restarted()
    return house.settings


def drafted(settings: Settings) -> bytes:
    return text.digest(text.drafts(Document.CP_CPS, settings))


@pytest.mark.clause("BR 2.2")
async def test_the_text_states_the_keys_in_both_languages_and_a_tree_without_them_is_not_published(
    repository: Repository,
) -> None:
    settings = stating(repository, FIRST)
    for draft in text.drafts(Document.CP_CPS, settings).values():
        assert f"`{FIRST}`" in draft
    await repository.published()
    before = repository.store.read("manifest.jws")
    stating(repository, FIRST, signing=("manifest-2",))
    repository.house.clock.at += 60
    with pytest.raises(NotPublished, match=rf"{FIRST}.*does not sign: {SECOND}"):
        await repository.updater.update(force=True)
    assert repository.store.read("manifest.jws") == before
    stating(repository, signing=("manifest-2",))
    repository.house.clock.at += 60  # the number was spent
    await repository.published()


async def test_a_key_is_replaced_in_steps_in_which_text_and_signatures_always_agree(
    repository: Repository,
) -> None:
    drafts = [drafted(stating(repository, FIRST))]
    await repository.published()
    for pins, signing in (
        ((FIRST,), ("manifest-1", "manifest-2")),  # the second signs besides: no word of the text changes
        ((FIRST, SECOND), ("manifest-1", "manifest-2")),  # the next version states both
        ((SECOND,), ("manifest-1", "manifest-2")),  # the one after it is public, and the CA not yet restarted
        ((SECOND,), ("manifest-2",)),  # it is
    ):
        drafts.append(drafted(stating(repository, *pins, signing=signing)))
        repository.house.clock.at += 60
        await repository.published()
        assert verify.standing(repository.store.root, repository.house.clock.now(), pins)["alarm"] == ""
    assert drafts[0] == drafts[1]  # so nothing halts when the second key is made
    assert len(set(drafts)) == 3
    assert drafts[3] == drafts[4]  # nor when the first goes


async def test_a_text_that_states_a_key_which_does_not_sign_is_not_approved(repository: Repository) -> None:
    await repository.published()
    house = repository.house
    settings = stating(repository, SECOND)
    words = ("by", "minutes", "summary", "概要")
    digest = text.digest(text.drafts(Document.CP_CPS, settings)).hex()
    with pytest.raises(signature.NotSigned, match=rf"states the manifest key {SECOND}"):
        document_calls.approve(
            DataDirectory(house.data.root), Document.CP_CPS, settings.ca.cps_version, settings, digest, *words
        )


async def test_status_tells_when_what_is_stated_does_not_sign(repository: Repository) -> None:
    await repository.published()
    now = repository.house.clock.now()
    found = verify.standing(repository.store.root, now, (SECOND,))
    assert f"does not sign: {FIRST} does" in found["alarm"]
    assert json.loads(repository.store.read("manifest.json") or b"")["sequence"] == found["sequence"]
