"""Compares a tree with its own manifest, offline: what a mirror does after copying, and an operator in doubt.

A stranger's check over HTTP, with CRL signatures and times, is examples/verify_repository.py.

Must never: change anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from repo_static.manifest import signature
from repo_static.manifest.updater import NAME, SIGNED
from repo_static.store import Store


def published(root: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The manifest of the tree below `root` and its keys' thumbprints.  Raises `NotSigned`."""
    content = Store(root).read(SIGNED)
    if content is None:
        raise signature.NotSigned(f"{root / SIGNED} is missing: the CA writes it once its vault is open")
    signed = signature.read(content)
    return json.loads(signed.payload), signed.thumbprints


def standing(root: Path, now: int, pins: Sequence[str] = ()) -> dict[str, Any]:
    """For `acme-server status`: number and nextUpdate of the manifest, and an alarm, or "" for none.

    `pins` are the thumbprints that the CP/CPS states.
    """
    try:
        manifest, thumbprints = published(root)
    except signature.NotSigned as error:
        never = Store(root).read(SIGNED) is None  # as before the vault was opened for the first time
        return {"sequence": 0, "next_update": "", "alarm": "" if never else str(error)}
    alarm = signature.unsigned(pins, thumbprints)
    late = datetime.fromisoformat(manifest["next_update"]).timestamp() < now
    return {
        "sequence": manifest["sequence"],
        "next_update": manifest["next_update"],
        "alarm": "the manifest is stale: see app.log for why no new one was signed" if late else alarm,
    }


def must_be_signed_by(root: Path, pins: Sequence[str]) -> None:
    """Before a text that states these keys is approved.  Raises `NotSigned`."""
    if pins and (trouble := signature.unsigned(pins, published(root)[1])):
        raise signature.NotSigned(trouble)


def faults(root: Path) -> list[str]:
    """Where the tree is not what its signed manifest says, a sentence each.  Raises `NotSigned`."""
    store = Store(root)
    manifest, _ = published(root)
    found = list(_differences(store, manifest, manifest["base_url"]))
    history = store.read("history.jsonl") or b""
    for line in history[: manifest["days"]["history"]["size"]].splitlines():
        found += _differences(store, json.loads(line), manifest["base_url"])
    if json.loads(store.read(NAME) or b"null") != manifest:
        found.append(f"{NAME}: not the manifest that is signed")
    return found


def _differences(store: Store, said: Any, base: str) -> Iterator[str]:
    if isinstance(said, list):
        for each in said:
            yield from _differences(store, each, base)
    elif isinstance(said, dict):
        if {"url", "size", "sha256"} <= said.keys():
            name = said["url"].removeprefix(f"{base}/")
            content = store.read(name)
            if content is None:
                yield f"{name}: missing"
            elif hashlib.sha256(content[: said["size"]]).hexdigest() != said["sha256"]:
                yield f"{name}: other content than the manifest says"
        for each in said.values():
            yield from _differences(store, each, base)
