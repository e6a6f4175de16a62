"""The signed manifest: fresh, never older than before, and true of every file that it names.

docs/relying-parties.md, "The manifest"; BR 2.2, 2.3; CCADB policy 6.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from operations.watch.checks.crl import ReadCrl
from operations.watch.fetch import MIB, Fetcher
from operations.watch.finding import State, Wrong, plain
from operations.watch.limits import CLOCKS_DIFFER, THIRD, about
from operations.watch.memory import Memory, SeenRegister
from operations.watch.signed import Manifest

NAME, SIGNED = "manifest.json", "manifest.jws"
MOST_FILES = 500
LIST_OCTETS = 8 * MIB
"""A larger list is not read: a sample of the day is enough."""

_STALE = "see why the CA publishes none: its log, its vault, its clock, the disk, the cache in front"
RESTORED = (
    "a backup was put back, and the CA has not noticed: `acme-server reconcile --restored` on its host "
    "closes it; then bring what this watch has kept (docs/operations.md, After a restore)"
)
_TOLD = "see that somebody knows of it; nothing else is to be done, and the next look is silent"
_ALTERED = "publish the CA's own file again, and find out who changed it"


@dataclass(frozen=True, slots=True)
class Line:
    """A certificate of a daily list."""

    issuer: str
    serial: int
    at: int
    ends: int = 0


def fresh(manifest: Manifest, memory: Memory, now: int) -> str:
    """Number and times.  Raises `Wrong`."""
    sequence = _number(manifest.said, "sequence")
    this_update, next_update = (_time(manifest.said, each) for each in ("this_update", "next_update"))
    if sequence < memory.manifest:
        raise Wrong(
            f"the manifest's number fell from {memory.manifest} to {sequence}",
            "an older file is served (a restored backup, a cache, one of several servers): find which",
        )
    memory.manifest = sequence
    age, left = now - this_update, next_update - now
    if left < 0:
        raise Wrong(f"the manifest is out of date: nextUpdate was {about(-left)} ago", _STALE)
    if age < -CLOCKS_DIFFER:
        raise Wrong(f"the manifest is from {about(-age)} in the future", "see the clocks, ours and the CA's")
    if left < (next_update - this_update) / THIRD:
        raise Wrong(f"the manifest is {about(age)} old and ends in {about(left)}", _STALE, State.WARN)
    return f"number {sequence}, {about(age)} old, by {', '.join(manifest.thumbprints)}"


def register(manifest: Manifest, memory: Memory) -> str:
    """The register has come as far as at the last look.  Raises `Wrong`.

    Its number rises with the time, also of a CA that was put back from a backup with all that it has; what it
    says of its register does not.  One that was reconciled goes on above every version that was seen.
    """
    try:
        told = manifest.said["register"]
        version, sequence = int(told["revocation_version"]), int(told["audit"]["sequence"])
        seen = SeenRegister(version, sequence, str(told["audit"]["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong("the manifest does not tell how far the register has come", _ALTERED) from error
    before = memory.register
    words = f"revocation version {version}, audit record {sequence}"
    if before is not None:
        was = f"revocation version {before.version}, audit record {before.sequence}"
        fell = (version, sequence) < (before.version, before.sequence)
        if fell or (replace(seen, hash="") == replace(before, hash="") and seen.hash != before.hash):
            raise Wrong(f"the register is behind, or another one: {words}; it was at {was}", RESTORED)
        memory.register = seen
        if sequence < before.sequence:
            raise Wrong(
                f"the register was restored, and reconciled: {words}; {was} before", _TOLD, State.WARN
            )
    memory.register = seen
    return words


async def unsigned(fetcher: Fetcher, repository: str, manifest: Manifest) -> str:
    """`manifest.json` holds the octets that were signed.  Raises `Wrong`."""
    url = f"{repository}/{NAME}"
    got = await fetcher.get(url, 16 * MIB)
    if got.octets == manifest.octets:
        return "the octets that were signed"
    try:
        other = json.loads(got.octets)["sequence"]
    except (ValueError, KeyError, TypeError, RecursionError):
        other = None
    if isinstance(other, int) and other > _number(manifest.said, "sequence"):
        return "a newer one, published this moment"
    raise Wrong(f"{url} holds other octets than those that were signed", _ALTERED)


async def files(fetcher: Fetcher, manifest: Manifest) -> str:
    """Certificates and documents have the sizes and digests that it says.  Raises `Wrong`."""
    count = 0
    for each in _files(manifest.said):
        got = await fetcher.get(str(each.get("url", "")), LIST_OCTETS)
        if hashlib.sha256(got.octets).hexdigest() != each.get("sha256"):
            raise Wrong(f"{each.get('url')} has another SHA-256 than the manifest says", _ALTERED)
        count += 1
    return f"{count} files as it says"


def crls(manifest: Manifest, found: Mapping[str, ReadCrl]) -> str:
    """It names every CRL, with the digest of that number.  Raises `Wrong`."""
    told = {str(each.get("url")): each for each in _objects(manifest.said.get("crls"))}
    for url, crl in found.items():
        said = told.get(url)
        if said is None:
            raise Wrong(f"{url} is not in the manifest", _STALE)
        number = _number(said, "number")
        if crl.number < number:
            seen = f"{url} has number {crl.number}, the manifest says {number}"
            raise Wrong(seen, "a cache in front of the CRL is older than the manifest", State.WARN)
        if crl.number == number and crl.sha256 != said.get("sha256"):
            raise Wrong(f"{url} has another SHA-256 than the manifest says", _ALTERED)
    return f"{len(found)} CRLs as it says"


async def lines(fetcher: Fetcher, manifest: Manifest, kind: str) -> list[Line]:
    """Today's list of what was "issued" or "revoked".  Raises `Wrong`."""
    try:
        listed = manifest.said["days"]["open"][kind]["list"]
        url, size, digest = str(listed["url"]), int(listed["size"]), str(listed["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise Wrong(f"the manifest has no list of what was {kind}", _STALE) from error
    if size > LIST_OCTETS:
        return []
    got = await fetcher.get(url, 2 * LIST_OCTETS)
    if hashlib.sha256(got.octets[:size]).hexdigest() != digest:
        raise Wrong(f"{url}: its first {size} octets have another SHA-256 than the manifest says", _ALTERED)
    try:
        return [_line(json.loads(each)) for each in got.octets[:size].splitlines()]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Wrong(f"{url}: a line cannot be read ({plain(str(error), 80)})", _ALTERED) from error


def _line(said: dict[str, Any]) -> Line:
    ends = int(datetime.fromisoformat(said["not_after"]).timestamp()) if "not_after" in said else 0
    at = int(datetime.fromisoformat(said["at"]).timestamp())
    return Line(str(said["issuer"]), int(str(said["serial"]), 16), at, ends)


def _files(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    anchor = said.get("trust_anchor")
    holders = [*([anchor] if isinstance(anchor, dict) else []), *_objects(said.get("issuers"))]
    named = [each.get("certificate") for each in holders] + _objects(said.get("documents"))
    yield from [each for each in named if isinstance(each, dict)][:MOST_FILES]


def _objects(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _number(said: Mapping[str, Any], name: str) -> int:
    found = said.get(name)
    if not isinstance(found, int):
        raise Wrong(f"the manifest has no {name}", _ALTERED)
    return found


def _time(said: Mapping[str, Any], name: str) -> int:
    try:
        return int(datetime.fromisoformat(str(said.get(name))).timestamp())
    except (ValueError, OverflowError) as error:
        raise Wrong(f"the manifest has no {name}", _ALTERED) from error
