"""The zones of people who mean well, some of them in bad repair: what NSD serves, signed or half signed."""

from __future__ import annotations

from tests.world.applicant import digest
from tests.world.zones import OURS, Signing, Zone

EXAMPLE_COM = (
    "@ A $web",
    "* A $web",
    "www A $web",
    "host A $web",
    "pki A $web",
    "refused A $closed",
    "six AAAA $web6",
    "alias CNAME www",
    f'caa-ours CAA 0 issue "{OURS}"',
    "caa-ours A $web",
    'caa-deny CAA 0 issue ";"',
    "caa-deny A $web",
    'caa-other CAA 0 issue "another-ca.example"',
    "caa-other A $web",
    f'caa-issuewild-deny CAA 0 issue "{OURS}"',
    'caa-issuewild-deny CAA 0 issuewild ";"',
    "caa-issuewild-deny A $web",
    "*.caa-issuewild-deny A $web",
    'caa-issuewild-ours CAA 0 issue ";"',
    f'caa-issuewild-ours CAA 0 issuewild "{OURS}"',
    "caa-issuewild-ours A $web",
    'caa-critical CAA 128 tbs "unknown"',
    "caa-critical A $web",
    f'caa-dns-only CAA 0 issue "{OURS}; validationmethods=dns-01"',
    "caa-dns-only A $web",
    f'caa-http-only CAA 0 issue "{OURS}; validationmethods=http-01"',
    "caa-http-only A $web",
    f'caa-foreign-account CAA 0 issue "{OURS}; accounturi=https://elsewhere.example/acme/account/1"',
    "caa-foreign-account A $web",
    "caa-inherited.caa-deny A $web",
    f'_acme-challenge.caa-issuewild-ours TXT "{digest()}"',
    f'_acme-challenge.caa-issuewild-deny TXT "{digest()}"',
    # RFC 8659 section 3: the climb follows an alias at each level, and never the tree of its target.
    "alias-to-deny CNAME caa-deny",
    "alias-to-bare CNAME bare.caa-deny",
    "bare.caa-deny A $web",
    "alias.caa-deny CNAME host",
    'caa-odd-flag CAA 1 tbs "unknown"',
    "caa-odd-flag A $web",
    'caa-malformed CAA 0 issue "%%%%"',
    f'caa-malformed CAA 0 issue "{OURS}"',
    "caa-malformed A $web",
    'caa-malformed-alone CAA 0 issue "%%%%"',
    "caa-malformed-alone A $web",
    'caa-substring CAA 0 issue "not-ca.example"',
    "caa-substring A $web",
    f'caa-two-accounts CAA 0 issue "{OURS}; accounturi=https://a.example/1; accounturi=https://a.example/2"',
    "caa-two-accounts A $web",
    'caa-wild-only CAA 0 issuewild ";"',
    "caa-wild-only A $web",
    # More than a datagram of 1232 octets holds; ours is among them.
    *(f'caa-sixty CAA 0 issue "ca-{number:02}.sixty.example"' for number in range(59)),
    f'caa-sixty CAA 0 issue "{OURS}"',
    "caa-sixty A $web",
    # More than any DNS message holds: whatever part of it comes is a part.
    *(f'caa-padded CAA 0 iodef "mailto:{number:03}{"x" * 230}@example.com"' for number in range(280)),
    'caa-padded CAA 0 issue ";"',
    "caa-padded A $web",
)

PLAIN = ("@ A $web", "* A $web", "www A $web")

MIXED = ("mixed A 10.0.0.1", "mixed A $web", "mixed AAAA fc00::1")

CHAINS = (
    "hop0 A $web",
    *(f"hop{number} CNAME hop{number - 1}" for number in range(1, 21)),
    "loop CNAME loop-back",
    "loop-back CNAME loop",
    "self CNAME self",
    "moved DNAME here",
    "www.here A $web",
    "denied.here A $web",
    'denied.here CAA 0 issue ";"',
    "spin DNAME spun",
    "spun DNAME spin",
    # Grows with each turn until the name is too long (RFC 6672 section 2.3: YXDOMAIN).
    "grow DNAME long.long.long.long.grow",
)

ZONES = (
    Zone("", "root"),
    Zone("com", "tld"),
    Zone("org", "tld", ('@ CAA 0 issue "another-ca.example"',), says="a TLD with CAA of its own"),
    # Any number of registered domains: each label below it is one (bench/).
    Zone("many", "tld", PLAIN),
    Zone("example.com", "leaf", EXAMPLE_COM, says="honest, with every form of CAA"),
    Zone("example.org", "leaf", (*PLAIN, f'caa-ours CAA 0 issue "{OURS}"', "caa-ours A $web")),
    Zone("insecure-example.com", "leaf", (*PLAIN, *MIXED), Signing.INSECURE),
    Zone("tampered-example.com", "leaf", PLAIN, Signing.TAMPERED),
    Zone("tampered-canary.com", "tld", PLAIN, Signing.TAMPERED),
    Zone("expired-example.com", "leaf", PLAIN, Signing.EXPIRED),
    Zone("stripped-example.com", "leaf", PLAIN, Signing.STRIPPED),
    Zone("iterated-example.com", "leaf", PLAIN, Signing.ITERATED),
    Zone("keytrap-example.com", "leaf", PLAIN, Signing.KEYTRAP),
    Zone("chain-example.com", "leaf", CHAINS, says="CNAME and DNAME: chains and loops"),
)
