"""What is to be expected of every name of the world: the table that the tests go through and people read.

A verdict is "pass" or the ACME problem of the perspective's statement, control before CAA; two with a stroke
between them where it depends on who is first to notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.evidence import Result, Statement
from tests.world.addresses import INTERNET
from tests.world.hostile import INSIDE_V4, INSIDE_V6, ODD_LITERALS


@dataclass(frozen=True, slots=True)
class Entry:
    """A name, the method by which it is asked, the verdict to expect, and what is behind it."""

    name: str
    method: str
    verdict: str
    says: str

    @property
    def slow(self) -> bool:
        """Whether it takes seconds."""
        return self.says.endswith(" s)")


def verdict(statement: Statement) -> str:
    """The verdict of one statement."""
    for seen in (statement.control, statement.caa):
        if seen is not None and seen.result is not Result.PASS:
            return seen.problem
    return "pass"


def _of(method: str, zone: str, want: str, names: dict[str, str]) -> Iterator[Entry]:
    for label, says in names.items():
        yield Entry(f"{label}.{zone}", method, want, says)


HONEST = (
    *_of(
        "http-01",
        "hostile.com",
        "pass",
        {
            "www": "an honest host",
            "six": "a host with IPv6 alone",
            "both": "a host with IPv6 and IPv4",
            "six-is-away": "IPv6 leads nowhere, IPv4 is tried after it (3 s)",
            "white-space": "white space behind the key authorization",
            "redirect-301": "a redirect to another host",
            "redirect-302": "a redirect to another host",
            "redirect-307": "a redirect to another host",
            "redirect-308": "a redirect to another host",
            "redirect-relative": "a redirect without a host",
            "redirect-80": "a redirect that names port 80",
            "redirect-https": "a redirect to https with a certificate of its own making",
            "redirect-443": "a redirect to https that names port 443",
            "countdown-10": "ten redirects",
        },
    ),
    *_of("dns-01", "hostile.com", "pass", {"txt-right": "the digest", "txt-many": "the digest among others"}),
    *_of(
        "http-01",
        "chain-example.com",
        "pass",
        {"hop8": "eight CNAMEs", "www.moved": "a DNAME on the way", "hop16": "sixteen CNAMEs"},
    ),
    Entry("www.insecure-example.com", "http-01", "pass", "not signed, and its parent says so"),
    Entry("www.lower-example.com", "http-01", "pass", "a server that does not keep the case of a question"),
    Entry("www.iterated-example.com", "http-01", "pass", "NSEC3 with 2000 iterations counts as insecure"),
    Entry(
        "mixed.insecure-example.com",
        "http-01",
        "pass",
        "inner addresses are left out, the public one is used",
    ),
)

REDIRECTS = (
    Entry(
        "turn.rebind-example.com",
        "http-01",
        "dns/connection",
        "its address is public, and inside when redirected",
    ),
    *_of(
        "http-01",
        "hostile.com",
        "connection",
        {
            "redirect-22": "a redirect to a port of SSH",
            "redirect-6379": "a redirect to a port of Redis",
            "redirect-8080": "a redirect to another port",
            "redirect-ftp": "another scheme",
            "redirect-file": "a file",
            "redirect-gopher": "gopher, the classic of request forgery",
            "redirect-userinfo": "a user name before the host",
            "redirect-well-known": "a host that ends in .well-known",
            "redirect-unknown-tld": "a TLD that is not there",
            "redirect-empty": "an empty Location",
            "redirect-no-location": "no Location",
            "redirect-long": "a Location of more than 2000 octets",
            "redirect-control": "control characters in Location",
            "redirect-loop": "to itself",
            "redirect-ping": "to one that leads back",
            "countdown-11": "eleven redirects",
        },
    ),
)

INSIDE = (
    # Unbound takes inner addresses out (private-address), and what is left of a signed answer is bogus.
    Entry("mixed.internal-example.com", "http-01", "dns", "signed, and inner addresses beside a public one"),
    *(
        Entry(f"{label}.internal-example.com", "http-01", "dns", f"its A is {a}")
        for label, a in INSIDE_V4.items()
    ),
    *(
        Entry(f"{label}.internal-example.com", "http-01", "dns", f"its AAAA is {a}")
        for label, a in INSIDE_V6.items()
    ),
    *(
        Entry(f"to-{label}.hostile.com", "http-01", "connection", f"a redirect to {address}")
        for label, address in (INSIDE_V4 | INSIDE_V6).items()
    ),
    *(
        Entry(f"tls-to-{label}.hostile.com", "http-01", "connection", f"a redirect to https at {address}")
        for label, address in INSIDE_V4.items()
    ),
    *(
        Entry(
            f"to-name-{label}.hostile.com", "http-01", "dns/connection", f"a redirect to a name of {address}"
        )
        for label, address in (INSIDE_V4 | INSIDE_V6).items()
    ),
    *(
        Entry(f"odd-{label}.hostile.com", "http-01", "connection", f"a redirect to http://{host}/")
        for label, host in ODD_LITERALS.items()
    ),
)

WEB = (
    # Of another domain, and few: a domain and a network have five places, and these keep theirs.
    *_of(
        "http-01",
        "insecure-example.com",
        "connection",
        {
            "silence": "takes the request and says nothing (5 s)",
            "slow-headers": "a header of one octet after the other (10 s)",
            "drip": "a body of one octet after the other (10 s)",
        },
    ),
    Entry("redirect-tls11.hostile.com", "http-01", "tls/connection", "https that speaks TLS 1.1"),
    *_of(
        "http-01",
        "hostile.com",
        "unauthorized",
        {
            "echo": "answers with the path",
            "echo-all": "answers with the whole request",
            "wrong-body": "something else",
            "empty-body": "nothing",
            "long-body": "129 octets",
            "huge": "50 MB",
            "endless": "chunks without end",
            "gzip": "the right answer, packed though nobody asked for it",
            "gzip-bomb": "50 MB in 50 kB",
            "escape": "terminal escapes and a forged log line",
            "not-found": "404",
            "error": "500",
            "forbidden": "403",
            "redirect-300": "300 is no redirect here",
            "redirect-303": "303 neither",
            "meta-refresh": "a redirect in HTML",
            "javascript": "a redirect in JavaScript",
        },
    ),
    *_of(
        "http-01",
        "hostile.com",
        "connection",
        {
            "many-headers": "500 headers",
            "big-header": "a header of 20 kB",
            "http-09": "a page without a head",
            "http2-preface": "HTTP/2 unasked",
            "not-http": "a banner of SSH",
            "reset": "breaks off",
            "hang-up": "closes without a word",
            "closed": "nobody listens",
            "nowhere": "packets vanish (5 s)",
        },
    ),
    *_of(
        "http-01",
        "hostile.com",
        "tls",
        {"redirect-no-tls": "https that speaks plain HTTP"},
    ),
)

ADDRESSES = (
    # RFC 8738: the Host field is the address, the server name of TLS its reverse name.
    Entry(INTERNET.web, "http-01", "pass", "an address, whose host answers to it"),
    Entry(INTERNET.web6, "http-01", "pass", "an IPv6 address"),
    Entry(INTERNET.web, "tls-alpn-01", "pass", "an address in the certificate for its reverse name"),
    Entry(INTERNET.closed, "http-01", "connection", "an address where nobody listens"),
    Entry(INTERNET.plain, "tls-alpn-01", "tls", "an address that speaks plain HTTP on port 443"),
)

ALPN = (
    # Python's server resets the connection, and the alert is lost or not.
    Entry("alpn-alert.hostile.com", "tls-alpn-01", "tls/connection", "refuses the name with an alert"),
    Entry("alpn-tls11.hostile.com", "tls-alpn-01", "tls/connection", "TLS 1.1"),
    *_of(
        "tls-alpn-01",
        "hostile.com",
        "pass",
        {"alpn-right": "the right certificate", "alpn-expired": "the right one, out of date"},
    ),
    *_of(
        "tls-alpn-01",
        "hostile.com",
        "unauthorized",
        {
            "alpn-wrong-digest": "another digest",
            "alpn-short-digest": "half the digest",
            "alpn-bare-digest": "the digest without its DER",
            "alpn-digest-and-more": "octets behind the digest",
            "alpn-no-extension": "no acmeIdentifier",
            "alpn-not-critical": "acmeIdentifier not critical",
            "alpn-wrong-name": "another name",
            "alpn-two-names": "one name too many",
            "alpn-name-and-address": "an address besides",
            "alpn-wildcard": "a wildcard",
            "alpn-no-name": "no name",
            "alpn-signed-by-another": "signed by another key",
            "alpn-issued-by-another": "issued by somebody else",
            "alpn-no-protocol": "no ALPN",
            "alpn-other-protocol": "another protocol",
            "alpn-default-vhost": "the right protocol and the certificate of a shared host",
            "www": "an ordinary web server",
        },
    ),
    *_of(
        "tls-alpn-01",
        "hostile.com",
        "tls",
        {
            "alpn-plain-http": "plain HTTP on port 443",
        },
    ),
    Entry("closed.hostile.com", "tls-alpn-01", "connection", "nobody listens"),
)

CAA = (
    *_of(
        "http-01",
        "example.com",
        "caa",
        {
            "caa-deny": "nobody may issue",
            "caa-other": "another CA may",
            "caa-substring": "a CA whose name ends as ours does",
            "caa-critical": "a critical property that nobody knows",
            "caa-odd-flag": "flag 1, which some write for critical",
            "caa-inherited.caa-deny": "said one level higher",
            "alias-to-deny": "said where the alias leads",
            "alias.caa-deny": "the alias leads to one without CAA, so the climb goes on above the alias",
            "caa-issuewild-ours": "we may issue wildcards only",
            "caa-malformed-alone": "a value that is no issuer satisfies nobody",
            "caa-dns-only": "only dns-01",
            "caa-foreign-account": "only another account",
            "caa-two-accounts": "two accounts in one property satisfy nobody",
        },
    ),
    *_of(
        "http-01",
        "example.com",
        "pass",
        {
            "caa-ours": "we may issue",
            "caa-sixty": "we may, too: a set that takes TCP",
            "caa-malformed": "we may, beside a malformed value",
            "caa-http-only": "only http-01",
            "caa-issuewild-deny": "no wildcards",
            "caa-wild-only": "says something of wildcards only",
            "alias-to-bare": "the parent of where the alias leads says no, and is not asked",
        },
    ),
    Entry("*.caa-issuewild-ours.example.com", "dns-01", "pass", "we may issue wildcards only"),
    Entry("*.caa-issuewild-deny.example.com", "dns-01", "caa", "no wildcards"),
    Entry("www.example.org", "http-01", "caa", "the TLD says that another CA may"),
    Entry("caa-ours.example.org", "http-01", "pass", "what the name says comes before the TLD"),
)

DNS = (
    *_of("http-01", "hostile.com", "dns", {"no-address": "neither A nor AAAA"}),
    *_of("dns-01", "hostile.com", "dns", {"closed": "no _acme-challenge"}),
    *_of(
        "dns-01",
        "hostile.com",
        "unauthorized",
        {
            "txt-wrong": "another digest",
            "txt-case": "the digest in lower case",
            "txt-empty": "no TXT",
            "dangling": "_acme-challenge leads to a name without TXT",
            "txt-escape": "terminal escapes in TXT",
        },
    ),
    Entry("www.tampered-example.com", "http-01", "dns", "signatures do not match (EDE 6)"),
    Entry("www.expired-example.com", "http-01", "dns", "signatures are out of date (EDE 7)"),
    Entry("www.stripped-example.com", "http-01", "dns", "DNSSEC taken away (EDE 9)"),
    Entry("www.keytrap-example.com", "http-01", "dns", "60 keys of one tag, 60 signatures (KeyTrap)"),
    *_of(
        "http-01",
        "chain-example.com",
        "dns",
        {
            "hop17": "seventeen CNAMEs",
            "loop": "two CNAMEs that lead to each other",
            "self": "a CNAME to itself",
            "x.spin": "two DNAMEs that lead to each other",
            "x.grow": "a DNAME that makes the name longer each time",
        },
    ),
    Entry("caa-padded.example.com", "http-01", "dns", "a CAA set of more than 64 KiB"),
    Entry("www.truncated-example.com", "http-01", "dns", "CAA truncated by UDP, and TCP is blocked"),
    *_of(
        "http-01",
        "broken-example.com",
        "dns",
        {
            "odd-tag": "a CAA tag with a hyphen",
            "empty-tag": "a CAA record without a tag",
            "overrun": "a CAA tag longer than its record",
            "one-octet": "a CAA record of one octet",
        },
    ),
    Entry("www.refused-example.com", "http-01", "dns", "its server says REFUSED"),
    Entry("www.absent-example.com", "http-01", "dns", "its server is not there (6 s)"),
    Entry("www.silent-example.com", "http-01", "dns", "its server never answers (6 s)"),
    Entry("www.slow-example.com", "http-01", "dns", "its server takes 2.5 s for each answer (6 s)"),
)

CATALOGUE: dict[str, tuple[Entry, ...]] = {
    "honest hosts": HONEST,
    "redirects that are not followed": REDIRECTS,
    "web servers": WEB,
    "tls-alpn-01": ALPN,
    "IP addresses": ADDRESSES,
    "CAA": CAA,
    "DNS": DNS,
    "the way inside": INSIDE,
}
"""By what it is about."""


def entries() -> Iterator[Entry]:
    """All of them."""
    for group in CATALOGUE.values():
        yield from group


def find(name: str, method: str) -> Entry | None:
    """The entry of a name and method."""
    return next((each for each in entries() if (each.name, each.method) == (name, method)), None)
