"""Pages, documents and chains: there, quick, and what they should be.

BR 2.2, 2.3; RFC 2585; RFC 5280 section 4.2.2.1.
"""

from __future__ import annotations

from cryptography import x509

from operations.watch.fetch import Fetcher, must_be_quick
from operations.watch.finding import State, Wrong
from operations.watch.limits import ISSUER_MARGIN, PAGE_OCTETS, about
from operations.watch.scope import Issuer, Scope, digest

_PUBLISH = "publish it again from the CA's data directory (a start of the CA does)"


async def page(fetcher: Fetcher, url: str) -> str:
    """A page for people or a document.  Raises `Wrong`."""
    got = await fetcher.get(url, PAGE_OCTETS)
    kind = got.headers.get("Content-Type", "")
    if not kind.startswith("text/html") or not got.octets:
        raise Wrong(
            f"{url}: {len(got.octets)} octets of {kind or 'no type'}, where a page should be", _PUBLISH
        )
    must_be_quick(got, url)
    return f"{len(got.octets)} octets"


async def read_only(fetcher: Fetcher, url: str) -> str:
    """Nobody writes there (CPS 2.4).  Raises `Wrong` when a PUT is not refused."""
    got = await fetcher.ask("PUT", url, body=b"x", fit=(403, 404, 405, 501))
    return f"PUT is refused ({got.status})"


async def chains(fetcher: Fetcher, scope: Scope, issuer: Issuer) -> str:
    """The issuer's published chain begins with it and ends at the anchor.  Raises `Wrong`."""
    url = f"{scope.repository}/issuers/{issuer.id}-chain.pem"
    got = await fetcher.get(url)
    try:
        chain = x509.load_pem_x509_certificates(got.octets)
    except ValueError as error:
        raise Wrong(f"{url}: no chain in PEM", _PUBLISH) from error
    if digest(chain[0]) != digest(issuer.certificate) or digest(chain[-1]) != digest(scope.anchor):
        raise Wrong(f"{url}: it does not lead from {issuer.id} to the pinned trust anchor", _PUBLISH)
    return f"{len(chain)} certificates, to the trust anchor"


async def issuer_life(issuer: Issuer, now: int) -> str:
    """How long a CA certificate still lives.  Raises `Wrong` near its end."""
    left = int(issuer.certificate.not_valid_after_utc.timestamp()) - now
    if left < 0:
        raise Wrong(f"its certificate ended {about(-left)} ago", "take it from the list; docs/chains.md")
    if left < ISSUER_MARGIN:
        raise Wrong(
            f"its certificate ends in {about(left)}",
            "hold a ceremony for the next one, if there is none yet (docs/chains.md)",
            State.WARN,
        )
    return f"SHA-256 {digest(issuer.certificate)[:16]}…, ends in {about(left)}"
