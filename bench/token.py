"""`python -m bench.token DATA`: how fast the token of a data directory signs by itself; JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from core.data_directory import DataDirectory
from core.settings import Settings
from signer.api import KeyUse
from signer.vault.sealed import hierarchy as hierarchies
from signer.vault.sealed.seal import TokenRole
from signer.vault.server import _logged_in
from signer.vault.tokens.keys import Key
from signer.vault.tokens.token import TokenThreads

SIGNATURES = 400
SECONDS = 5.0
TBS = bytes(1200)


@dataclass(frozen=True, slots=True)
class Rate:
    """Signatures of one key per second, and the CPU microseconds of the process for each."""

    issuer: str
    rate: float
    cpu: float
    verify: float
    """CPU microseconds to verify an ECDSA P-256 signature, of which a leaf takes three: the perspective's
    statement, the account's request, and with a P-256 issuer the certificate's own."""


def verification() -> float:
    """Of one signature, as the vault verifies it."""
    key = ec.generate_private_key(ec.SECP256R1())
    signature, public = key.sign(TBS, ec.ECDSA(hashes.SHA256())), key.public_key()
    begun = time.process_time()
    for _ in range(SIGNATURES):
        public.verify(signature, TBS, ec.ECDSA(hashes.SHA256()))
    return 1e6 * (time.process_time() - begun) / SIGNATURES


async def rate(tokens: TokenThreads, issuer: str, key: Key, threads: int) -> Rate:
    """Keep all threads busy."""
    done, until = 0, time.monotonic() + SECONDS

    async def one() -> None:
        nonlocal done
        while done < SIGNATURES and time.monotonic() < until:
            await tokens.sign(key, TBS)
            done += 1

    cpu, begun = time.process_time(), time.monotonic()
    await asyncio.gather(*(one() for _ in range(2 * threads)))
    spent, seconds = time.process_time() - cpu, time.monotonic() - begun
    return Rate(issuer, done / seconds, 1e6 * spent / done, verification())


def main() -> int:
    """Open the token as the vault does, and sign with each issuing key."""
    data, settings = DataDirectory(Path(sys.argv[1])), Settings()
    hierarchy = hierarchies.load(data, settings)
    pin = bytearray(hierarchies.read_pin(settings, data), "utf-8")
    tokens = _logged_in(settings, data, hierarchy.token(TokenRole.ISSUING), pin)
    try:
        issuing = [each for each in hierarchy.issuers if each.use is KeyUse.ISSUING]
        keys = {each.id: tokens.keeper.find(each.label) for each in issuing}
        found = [asyncio.run(rate(tokens, id, key, settings.vault.threads)) for id, key in keys.items()]
    finally:
        tokens.close()
    print(json.dumps([asdict(each) for each in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
