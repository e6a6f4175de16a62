"""Takes what people, or the public tree, bring: CRLs, OCSP answers, manifests and their lists, certificates.

Must never: believe what our own keys did not sign, or a list that no such manifest names by its digest.

CPS 5.7.4; BR 4.9.9, 4.9.10, 7.2.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from core import gaps, revocations
from core.database import Database, Transaction
from core.errors import Refused
from core.gaps import CRL
from repo_static.manifest import signature
from repo_static.manifest.signature import NotSigned
from repo_static.manifest.updater import SIGNED
from repo_static.store import Store
from status.crl.scopes import scopes
from status.restored import lists, outside, put_back
from status.restored.lists import Listed
from status.restored.put_back import PAGE, enter


@dataclass(frozen=True, slots=True)
class Taken:
    """What was put back: revocations entered or raised to keyCompromise, CRL numbers counted as used, and
    certificates of which the register knew nothing, or too little.

    `wanted` are the names of lists that should be brought next.
    """

    revocations: int = 0
    numbers: int = 0
    certificates: int = 0
    wanted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.revocations or self.numbers or self.certificates)


class Brought:
    """One in the app process."""

    def __init__(self, database: Database, store: Store, pins: Sequence[str] = ()) -> None:
        """`pins` are the thumbprints of the keys that sign manifests, where the CP/CPS states them."""
        self._database = database
        self._store = store
        self._pins = pins
        self._listed: dict[str, Listed] = {}
        """Lists that a manifest of ours names, by their names."""

    async def read_crl(self, der: bytes) -> outside.Crl:
        """A CRL of ours.  Raises `Refused`."""
        return await asyncio.to_thread(outside.crl, scopes(self._database.reader), der)

    async def crl(self, der: bytes) -> Taken:
        """Put back what a CRL of ours says.  Raises `Refused`."""
        return await self.take_crl(await self.read_crl(der), der)

    async def take_crl(self, found: outside.Crl, der: bytes) -> Taken:
        """The same of one that was read already."""
        name = f"{found.scope.issuer_id}-{found.scope.shard}"
        count = await enter(self._database, found.said, f"it stands in CRL {name} number {found.number}")
        digest = hashlib.sha256(der).hexdigest()

        def unit(tx: Transaction) -> bool:
            newly = gaps.count_crl(tx, found.scope.issuer_id, found.scope.shard, found.number)
            gap = next((each for each in gaps.are_open(tx) if each.subject == f"{CRL} {name}"), None)
            if gap is not None and (found.number > gap.detail["number"] or digest == gap.detail["sha256"]):
                gaps.close(tx, gap.subject, f"CRL number {found.number} was read")
            return newly

        return Taken(count, int(await self._database.write(unit, at_any_time=True)))

    async def answer(self, der: bytes) -> Taken:
        """Put back what a signed OCSP answer of ours says.  Raises `Refused`."""
        said = outside.answer(self._database.reader, der)
        return Taken(await enter(self._database, (said,), "a signed OCSP answer says so"))

    async def certificate(self, der: bytes) -> Taken:
        """Learn of a certificate that one of our issuers signed: that it is there, and its shard and key.

        A precertificate is as good.  Raises `Refused`.
        """
        said = outside.issued(self._database.reader, der)

        def unit(tx: Transaction) -> int:
            unknown = put_back.remember(tx, [said.said])
            key = hashlib.sha256(said.spki).digest()
            known = put_back.complete(tx, said.said, key, said.not_before, "the certificate itself")
            return int(bool(unknown or known))

        return Taken(0, 0, await self._database.write(unit, at_any_time=True))

    async def manifest(self, jws: bytes, key: str = "") -> Taken:
        """Learn how high versions and CRL numbers had come, and which CRLs and lists to bring.

        `key` is the RFC 7638 thumbprint of the key that must have signed it; "" for one that is pinned, or
        that has signed our own public manifest.  Raises `Refused`.
        """
        said = outside.manifest(self._signed(jws, key))

        def unit(tx: Transaction) -> int:
            gaps.raise_version(tx, said.version)
            ours = {scope.issuer_id for scope in scopes(tx)}  # the root's CRL is a matter of ceremonies
            newer = [each for each in said.crls if each[0] in ours and gaps.count_crl(tx, *each[:3])]
            for issuer_id, shard, number, digest in newer:
                gaps.crl_unknown(tx, issuer_id, shard, number, digest)
            return len(newer)

        count = await self._database.write(unit, at_any_time=True)
        found = lists.named_by(said.days)
        self._listed |= {each.name: each for each in found}
        return Taken(0, count, wanted=tuple(each.name for each in found))

    async def list(self, name: str, content: bytes) -> Taken:
        """Put back what a daily list says that a brought manifest names, or learn which there are.

        Raises `Refused`.
        """
        listed = self._listed.get(name)
        if listed is None:
            raise Refused(
                "outside.list", f"no manifest that was brought names {name}: bring the manifest first"
            )
        octets = lists.as_named(listed, content)
        if listed.kind == lists.HISTORY:
            since = lists.first_day(self._database.reader)
            found = [each for each in lists.of_history(octets) if each.day >= since]
            self._listed |= {each.name: each for each in found}
            return Taken(wanted=tuple(each.name for each in found))
        said = await asyncio.to_thread(lists.said, listed, octets, lists.issuers_of(self._database.reader))
        if listed.kind == lists.REVOKED:
            return Taken(await enter(self._database, said, f"it stands in {name} of a signed manifest"))
        reader = self._database.reader
        unknown = [each for each in said if revocations.status_of(reader, each.serial) is None]
        count = 0
        for start in range(0, len(unknown), PAGE):
            page = unknown[start : start + PAGE]
            count += await self._database.write(partial(put_back.remember, said=page), at_any_time=True)
        return Taken(0, 0, count)

    def _signed(self, jws: bytes, key: str) -> bytes:
        try:
            signed = signature.read(jws)
        except NotSigned as error:
            raise Refused("outside.manifest", f"{error}: bring a {SIGNED}") from error
        known = {key} if key else set(self._pins)
        if not known:
            try:
                known = set(signature.read(self._store.read(SIGNED) or b"").thumbprints)
            except NotSigned as error:
                raise Refused(
                    "outside.manifest-key",
                    f"by which key our manifests are signed is not known here ({error}): name its thumbprint "
                    f"(--manifest-key), or put a {SIGNED} of ours, however old, into repository/",
                ) from error
        if not known & set(signed.thumbprints):
            raise Refused(
                "outside.manifest-foreign",
                f"the manifest is signed by {', '.join(signed.thumbprints)}, and not by "
                f"{' or '.join(sorted(known))}",
            )
        return signed.payload
