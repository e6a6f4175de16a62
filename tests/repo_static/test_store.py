"""repo_static/store.py"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from repo_static.store import EMPTY, Extent, NotPublished, Store, is_public_name


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def refuse(published: bytes | None) -> None:
    raise NotPublished("no")


def test_a_file_is_published_with_its_directories(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.replace("crl/ec1-0.crl", b"one")
    assert store.read("crl/ec1-0.crl") == b"one"
    assert store.names("crl") == ["crl/ec1-0.crl"]


def test_the_same_content_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.replace("a.txt", b"one")
    before = (tmp_path / "a.txt").stat()
    assert not store.replace("a.txt", b"one")
    after = (tmp_path / "a.txt").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_reader_with_the_old_file_open_keeps_it_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.replace("a.txt", b"old")
    with (tmp_path / "a.txt").open("rb") as reading:
        store.replace("a.txt", b"newer")
        assert reading.read() == b"old"


def test_a_guard_sees_what_is_published_and_can_refuse(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.replace("a.txt", b"one")
    seen: list[bytes | None] = []
    store.replace("a.txt", b"two", seen.append)
    assert seen == [b"one"]
    with pytest.raises(NotPublished):
        store.replace("a.txt", b"three", refuse)
    assert store.read("a.txt") == b"two"


def test_pieces_are_published_in_a_row_and_a_guard_sees_the_file_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    seen: list[bytes | None] = []

    def look(published: BinaryIO | None) -> None:
        seen.append(None if published is None else published.read())

    store.put("crl/ec1-0.crl", (b"one", b"", b"two"), look)
    store.put("crl/ec1-0.crl", iter((b"three",)), look)
    assert seen == [None, b"onetwo"]
    assert store.read("crl/ec1-0.crl") == b"three"
    assert store.names("crl") == ["crl/ec1-0.crl"]
    assert (tmp_path / "crl/ec1-0.crl").stat().st_mode & 0o777 == 0o644


def test_pieces_that_a_guard_refuses_or_that_end_early_change_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("a.crl", (b"one",), lambda published: None)

    def refused(published: BinaryIO | None) -> None:
        raise NotPublished("no")

    def cut() -> Iterator[bytes]:
        yield b"half"
        raise OSError("the disk is full")

    with pytest.raises(NotPublished):
        store.put("a.crl", (b"two",), refused)
    with pytest.raises(OSError, match="full"):
        store.put("a.crl", cut(), lambda published: None)
    with pytest.raises(NotPublished, match="public name"):
        store.put("../a.crl", (b"two",), lambda published: None)
    assert store.read("a.crl") == b"one"


def test_what_was_added_never_changes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add("issuers/ec1.crt", b"one")
    assert not store.add("issuers/ec1.crt", b"one")
    with pytest.raises(NotPublished, match="new version"):
        store.add("issuers/ec1.crt", b"two")
    assert store.read("issuers/ec1.crt") == b"one"


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", ".hidden", "a/.b", "", "a//b", "a/", "a\x00", "a b", "a\\b"]
)
def test_a_name_outside_the_tree_or_hidden_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_public_name(name)
    with pytest.raises(NotPublished):
        Store(tmp_path / "tree").replace(name, b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Store(tmp_path).replace("crl/a.crl", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "crl").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "crl/a.crl").stat().st_mode & 0o777 == 0o644


def test_an_orphan_of_a_crash_does_not_disturb(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.new").write_bytes(b"half")
    store = Store(tmp_path)
    store.replace("a.txt", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.replace("a.txt", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("repo_static.store.os.fsync", full)
    with pytest.raises(OSError, match="space"):
        store.replace("a.txt", b"new")
    assert store.read("a.txt") == b"old"


def test_the_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr("repo_static.store.os.fsync", lambda fd: (events.append("sync"), fsync(fd)))
    monkeypatch.setattr("repo_static.store.os.replace", lambda a, b: (events.append("name"), rename(a, b)))
    Store(tmp_path).replace("a.txt", b"x")
    assert events == ["sync", "name", "sync"]


TEXT = b"text that packs well " * 100


def test_what_compresses_well_has_a_packed_variant(store: Store) -> None:
    store.replace("a.md", TEXT)
    store.replace("a.crl", TEXT)
    store.replace("short.md", b"short")
    assert gzip.decompress((store.root / "a.md.gz").read_bytes()) == TEXT
    assert not (store.root / "a.crl.gz").exists()
    assert not (store.root / "short.md.gz").exists()


def test_a_variant_that_is_missing_is_made_though_nothing_has_changed(store: Store) -> None:
    store.replace("a.md", TEXT)
    (store.root / "a.md.gz").unlink()
    assert store.replace("a.md", TEXT) is False
    assert (store.root / "a.md.gz").exists()


def test_a_variant_is_never_that_of_other_content_wherever_we_are_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, left = os.replace, 0

    def renamed(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        rename(source, target)

    store.replace("a.md", TEXT)
    monkeypatch.setattr(os, "replace", renamed)
    for survivors in range(3):
        left = survivors
        with contextlib.suppress(KeyboardInterrupt):
            store.replace("a.md", TEXT + b"%d" % survivors)
        variant = store.root / "a.md.gz"
        assert not variant.exists() or gzip.decompress(variant.read_bytes()) == store.read("a.md")
    assert variant.exists()


def test_a_file_that_grows_keeps_its_beginning(store: Store) -> None:
    first = store.grow("a.jsonl", EMPTY, b"one\n")
    second = store.grow("a.jsonl", first, b"two\n")
    assert store.read("a.jsonl") == b"one\ntwo\n"
    assert second == Extent(8, hashlib.sha256(b"one\ntwo\n").hexdigest())
    # What nobody was told of is cut off.
    assert store.grow("a.jsonl", first, b"three\n").size == 10
    assert store.read("a.jsonl") == b"one\nthree\n"


@pytest.mark.parametrize("found", [b"two\n", b"on", None])
def test_a_beginning_that_is_not_there_is_not_built_upon(store: Store, found: bytes | None) -> None:
    first = store.grow("a.jsonl", EMPTY, b"one\n")
    path = store.root / "a.jsonl"
    path.unlink() if found is None else path.write_bytes(found)
    with pytest.raises(NotPublished):
        store.grow("a.jsonl", first, b"two\n")
    assert store.read("a.jsonl") == found


def test_names_and_marks_tell_of_files_and_not_of_their_variants(store: Store) -> None:
    store.replace("cps/a.md", TEXT)
    assert store.names("cps") == ["cps/a.md"]
    before = store.mark("cps/a.md")
    store.replace("cps/a.md", TEXT[1:])
    assert store.mark("cps/a.md") != before
    assert store.mark("cps/b.md") is None
    assert store.size("cps/b.md") == -1
