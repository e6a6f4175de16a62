"""The zones of people who mean harm: servers that lie or fall silent, and names that lead inside.

How the servers behave is in scripted.py, how the web and TLS servers do in web.py and tls.py; what is
expected of each name is in catalogue.py.
"""

from __future__ import annotations

from tests.world.applicant import digest
from tests.world.honest import MIXED, PLAIN
from tests.world.zones import Signing, Zone

INSIDE_V4 = {
    "this-network": "0.0.0.1",
    "unspecified": "0.0.0.0",
    "private-10": "10.0.0.1",
    "private-172": "172.16.0.1",
    "private-192": "192.168.0.1",
    "shared": "100.64.0.1",
    "loopback": "127.0.0.1",
    "link-local": "169.254.0.1",
    "metadata": "169.254.169.254",
    "protocol": "192.0.0.8",
    "documentation-1": "192.0.2.1",
    "documentation-2": "198.51.100.1",
    "documentation-3": "203.0.113.1",
    "relay": "192.88.99.1",
    "benchmark": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
}
INSIDE_V6 = {
    "unspecified-6": "::",
    "loopback-6": "::1",
    "mapped": "::ffff:127.0.0.1",
    "mapped-metadata": "::ffff:169.254.169.254",
    "compatible": "::127.0.0.1",
    "nat64": "64:ff9b::7f00:1",
    "nat64-local": "64:ff9b:1::1",
    "6to4": "2002:7f00:1::",
    "teredo": "2001:0:7f00:1::",
    "discard": "100::1",
    "documentation-6": "2001:db8::1",
    "documentation-7": "3fff::1",
    "unique-local": "fc00::1",
    "unique-local-fd": "fd00::1",
    "site-local": "fec0::1",
    "link-local-6": "fe80::1",
    "multicast-6": "ff02::1",
}
"""One address of every network that no stranger may lead us to, and of every form that hides an IPv4 one."""

ODD_LITERALS = {
    "decimal": "2130706433",
    "hexadecimal": "0x7f000001",
    "octal": "0177.0.0.1",
    "short": "127.1",
    "leading-zero": "127.0.0.01",
    "dot-at-end": "127.0.0.1.",
    "hex-parts": "0x7f.0.0.1",
    "too-many": "127.0.0.0.1",
    "userinfo": "www.hostile.com@127.0.0.1",
    "backslash": "www.hostile.com\\@127.0.0.1",
    "ideographic-stop": "127。0。0。1",
    "full-width": "１２７.0.0.1",
    "percent": "127%2e0%2e0%2e1",
    "bracketed-v4": "[127.0.0.1]",
    "zone-index": "[fe80::1%25eth0]",
    "long-v6": "[0:0:0:0:0:0:0:1]",
    "mapped-hex": "[::ffff:7f00:1]",
    "future": "[v1.127.0.0.1]",
    "localhost": "localhost",
    "single-label": "intranet",
}
"""Hosts of a Location that some parser takes for 127.0.0.1 (attacks.odd-literals)."""

_HOSTILE_COM = (
    "@ A $web",
    "* A $web",
    "six AAAA $web6",
    "both A $web",
    "both AAAA $web6",
    # The first address answers nobody, and the second one is good: tried only after a connect failure.
    "six-is-away A $web",
    "six-is-away AAAA 2a0e:80::ffff",
    "closed A $closed",
    "nowhere A $nowhere",
    "alpn-plain-http A $plain",
    "alpn-tls11 A $tls11",
    "tls11 A $tls11",
    f'_acme-challenge.txt-right TXT "{digest()}"',
    f'_acme-challenge.txt-many TXT "{digest()}"',
    '_acme-challenge.txt-many TXT "another"',
    f'_acme-challenge.txt-case TXT "{digest().lower()}"',
    "txt-wrong A $web",
    '_acme-challenge.txt-wrong TXT "not the digest"',
    "txt-empty A $web",
    '_acme-challenge.txt-empty CAA 0 issue "nobody.example"',
    # Terminal escapes and line breaks, on their way into a log.
    '_acme-challenge.txt-escape TXT "\\027[31mred\\013\\010forged log line"',
    "_acme-challenge.dangling CNAME gone.example.com",
    "no-address TXT nothing",
    "*.wildcard A $web",
)

_INTERNAL = (
    *(f"{label} A {address}" for label, address in INSIDE_V4.items()),
    *(f"{label} AAAA {address}" for label, address in INSIDE_V6.items()),
    *MIXED,
)

_TRUNCATED = (*PLAIN, 'caa CAA 0 issue ";"', "caa A $web")

ZONES = (
    Zone("hostile.com", "leaf", _HOSTILE_COM, says="web and TLS servers that misbehave: a name for each way"),
    Zone("internal-example.com", "leaf", _INTERNAL, says="names of addresses that are none of your business"),
    Zone("silent-example.com", "scripted", PLAIN, Signing.INSECURE, "its server never answers"),
    Zone("slow-example.com", "scripted", PLAIN, Signing.INSECURE, "its server takes 2.5 s for each answer"),
    Zone(
        "refused-example.com", "leaf", PLAIN, Signing.INSECURE, "lame: its server says REFUSED", served=False
    ),
    Zone("absent-example.com", "absent", PLAIN, Signing.INSECURE, "nobody is at its server's address"),
    Zone("broken-example.com", "scripted", PLAIN, Signing.INSECURE, "CAA records that cannot be read"),
    Zone(
        "rebind-example.com",
        "scripted",
        PLAIN,
        Signing.INSECURE,
        "TTL 0, its address turns inside when it was visited",
    ),
    Zone("lower-example.com", "scripted", PLAIN, Signing.INSECURE, "its server answers in lower case (0x20)"),
    Zone("truncated-example.com", "udp_only", _TRUNCATED, Signing.INSECURE, "TC by UDP, and no TCP"),
)
