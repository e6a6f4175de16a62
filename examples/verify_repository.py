#!/usr/bin/env python3
"""Checks a CA's repository as a stranger: the signed manifest, and everything that it names.

    verify_repository.py http://repository.ca.example [--key THUMBPRINT] [--root trust-anchor.pem]

Needs Python 3.11 and the library `cryptography`, 42 or newer, and nothing of acme-server.  What it trusts
is what you give it: the thumbprint of the manifest's key (from the CA, or from an earlier run of your own),
and the root from your trust store.  Without them it takes those that the manifest names, says so, and what
is left is that everything fits together.

Exit status: 0 all is well, 1 something is wrong (each fault is a line on standard output), 2 the repository
cannot be read, the options are wrong, or `cryptography` is missing or too old.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

try:
    import cryptography
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
except ImportError as missing:
    print(f"the library `cryptography`, 42 or newer, is needed ({missing}): use a venv", file=sys.stderr)
    sys.exit(2)  # not 1, which says that the repository is wrong

CRYPTOGRAPHY = 42
"""The first major version whose certificates and CRLs tell their times with the time zone."""

TYP = "acme-server-repository-manifest+json"
MOST_OCTETS = 256 * 2**20
TIMEOUT = 10
"""Seconds.  BR 4.10.2 asks for an answer within ten."""


class Unreadable(Exception):
    """The repository does not answer, or with something else than a signed manifest."""


class Check:
    """One pass over a repository; `faults` are sentences."""

    def __init__(self, base: str, now: float) -> None:
        self.base = base.rstrip("/")
        self.now = now
        self.faults: list[str] = []
        self.fetched = 0

    def run(self, keys: list[str], root: x509.Certificate | None, lists: bool) -> dict[str, Any]:
        """Check all; the manifest.  Raises `Unreadable`."""
        jws = self.fetch(f"{self.base}/manifest.jws")
        manifest, thumbprints = read(jws)
        if keys and not set(keys) & set(thumbprints):
            self.fault(f"manifest: signed by {', '.join(thumbprints)}, none of which you trust")
        if json.loads(self.fetch(f"{self.base}/manifest.json"))["sequence"] < manifest["sequence"]:
            self.fault("manifest.json is older than manifest.jws")
        self.times("manifest", manifest)
        if manifest["base_url"] != self.base:
            self.note(f"the manifest is of {manifest['base_url']}; this is a mirror of it")
        anchor = self.certificate("trust anchor", manifest["trust_anchor"])
        if root is not None and anchor is not None and anchor != root:
            self.fault("the trust anchor is not the root that you gave")
        issuers = self.issuers(manifest, root or anchor)
        for crl in manifest["crls"]:
            self.crl(crl, issuers.get(crl["issuer"]))
        for each in manifest["documents"]:
            self.file(each)
        if lists:
            self.days(manifest["days"])
        self.note(f"manifest {manifest['sequence']} of {manifest['this_update']}, {self.fetched} files")
        return manifest

    def issuers(self, manifest: dict[str, Any], root: x509.Certificate | None) -> dict[str, x509.Certificate]:
        """The issuers' certificates by id, each signed by the root."""
        found = {} if root is None else {"root": root}
        named = {crl["url"] for crl in manifest["crls"]}
        for issuer in manifest["issuers"]:
            certificate = self.certificate(issuer["id"], issuer)
            if certificate is None:
                continue
            found[issuer["id"]] = certificate
            try:
                if root is not None:
                    certificate.verify_directly_issued_by(root)
            except (ValueError, TypeError, InvalidSignature):
                self.fault(f"{issuer['id']}: the root did not sign its certificate")
            for chain in issuer["chains"]:
                self.chain(issuer["id"], chain)
            for url in set(issuer["crls"]) - named:
                self.fault(f"{issuer['id']}: {url} is not among the manifest's CRLs")
            if len(issuer["crls"]) < issuer["crl_shards"]:
                self.fault(
                    f"{issuer['id']}: {issuer['crl_shards']} CRLs, of which {len(issuer['crls'])} are public"
                )
        return found

    def certificate(self, what: str, said: dict[str, Any]) -> x509.Certificate | None:
        """A certificate, as the manifest describes it."""
        content = self.file(said["certificate"])
        if content is None:
            return None
        certificate = x509.load_der_x509_certificate(content)
        if certificate.fingerprint(hashes.SHA256()).hex() != said["sha256"]:
            self.fault(f"{what}: its certificate has another SHA-256 than the manifest says")
        if iso(certificate.not_valid_after_utc) != said["not_after"]:
            self.fault(f"{what}: its certificate ends on another day than the manifest says")
        return certificate

    def chain(self, what: str, said: dict[str, Any]) -> None:
        """A chain: each certificate signed by the next."""
        try:
            chain = x509.load_pem_x509_certificates(self.fetch(said["url"]))
            if [each.fingerprint(hashes.SHA256()).hex() for each in chain] != said["certificates"]:
                self.fault(f"{what}: {said['url']} holds other certificates than the manifest says")
            for subject, issuer in pairwise(chain):
                subject.verify_directly_issued_by(issuer)
        except (Unreadable, ValueError, TypeError, InvalidSignature) as error:
            self.fault(f"{what}: {said['url']}: {error or 'it does not verify'}")

    def crl(self, said: dict[str, Any], issuer: x509.Certificate | None) -> None:
        """A CRL: signed, fresh, and the manifest's or a newer one."""
        content = self.file(said, newer=True)
        if content is None:
            return
        crl = x509.load_der_x509_crl(content)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        if issuer is None or not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            self.fault(f"{said['url']}: its issuer did not sign it")
        if number < said["number"]:
            self.fault(f"{said['url']}: number {number}, and the manifest names {said['number']}: it is old")
        elif number == said["number"] and hashlib.sha256(content).hexdigest() != said["sha256"]:
            self.fault(f"{said['url']}: number {number} has other octets than the manifest says")
        if crl.next_update_utc is None or crl.next_update_utc.timestamp() < self.now:
            self.fault(f"{said['url']}: stale since {said['next_update']}")
        try:
            point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
        except x509.ExtensionNotFound:
            return
        names = [name.value for name in point.value.full_name or ()]
        if names != [said["url"]] or not point.critical:
            self.fault(f"{said['url']}: its issuingDistributionPoint names {names}")

    def days(self, said: dict[str, Any]) -> None:
        """The history, and every list of it and of today."""
        history = self.file(said["history"])
        closed = [] if history is None else [json.loads(line) for line in history.splitlines()]
        dates = [day["date"] for day in (*closed, said["open"])]
        if dates != sorted(set(dates)):
            self.fault("history: its days do not follow one another")
        for day in (*closed, said["open"]):
            for kind in ("issued", "revoked"):
                content = self.file(day[kind]["list"])
                if content is not None:
                    self.count(f"{kind} {day['date']}", day[kind], content)

    def count(self, what: str, said: dict[str, Any], content: bytes) -> None:
        """The lines of a list against its count."""
        lines = [json.loads(line) for line in content.splitlines()]
        serials = {(line["issuer"], line["serial"]) for line in lines}
        # A certificate may follow the precertificate of the day before, and a reason an earlier revocation.
        if said["count"] > len(serials) or said["count"] != sum(
            sum(counts.values()) for counts in said["by_issuer"].values()
        ):
            self.fault(f"{what}: {said['count']} serial numbers, and the list has {len(serials)}")

    def file(self, said: dict[str, Any], *, newer: bool = False) -> bytes | None:
        """A file; of one that grows, the part that is named.  `newer`: another may have taken its place."""
        try:
            content = self.fetch(said["url"])
        except Unreadable as error:
            self.fault(str(error))
            return None
        part = content[: said["size"]]
        if hashlib.sha256(part).hexdigest() != said["sha256"] and not newer:
            self.fault(f"{said['url']}: other octets than the manifest says")
            return None
        if said.get("gzip"):
            packed = self.file(said["gzip"])
            if packed is not None and gzip.decompress(packed) != part:
                self.fault(f"{said['gzip']['url']}: other content than {said['url']}")
        return content if newer else part

    def times(self, what: str, said: dict[str, Any]) -> None:
        """nextUpdate has not passed."""
        if datetime.fromisoformat(said["next_update"]).timestamp() < self.now:
            self.fault(f"{what}: a newer one should be there since {said['next_update']}")
        if datetime.fromisoformat(said["this_update"]).timestamp() > self.now + 300:
            self.fault(f"{what}: it is from the future, or this clock is wrong")

    def fetch(self, url: str) -> bytes:
        """A file of the repository, whole; from a mirror by the mirror's name."""
        for base in self.aliases:
            url = url.replace(base, self.base, 1) if url.startswith(f"{base}/") else url
        if not url.startswith(f"{self.base}/"):
            raise Unreadable(f"{url}: not of this repository")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                content: bytes = answer.read(MOST_OCTETS + 1)
        except (OSError, urllib.error.URLError) as error:
            raise Unreadable(f"{url}: {error}") from error
        if len(content) > MOST_OCTETS:
            raise Unreadable(f"{url}: more than {MOST_OCTETS} octets")
        self.fetched += 1
        return content

    aliases: tuple[str, ...] = ()
    """The base URLs that the manifest may use for this repository."""

    def fault(self, sentence: str) -> None:
        self.faults.append(sentence)

    def note(self, sentence: str) -> None:
        print(sentence, file=sys.stderr)


def read(jws: bytes) -> tuple[dict[str, Any], list[str]]:
    """The manifest in a JWS (RFC 7515 section 7.2.1), its keys' thumbprints.  Raises `Unreadable`."""
    try:
        document = json.loads(jws)
        thumbprints = [thumbprint(document["payload"], each) for each in document["signatures"]]
        manifest = json.loads(octets(document["payload"]))
    except (ValueError, KeyError, TypeError, AttributeError, InvalidSignature) as error:
        raise Unreadable(f"manifest.jws is no signed manifest: {type(error).__name__} {error}") from error
    if not thumbprints:
        raise Unreadable("manifest.jws: nobody signed it")
    return manifest, thumbprints


def thumbprint(payload: str, signature: dict[str, str]) -> str:
    """Check one signature; the RFC 7638 thumbprint of its key."""
    header = json.loads(octets(signature["protected"]))
    if header["alg"] != "ES256" or header["typ"] != TYP:
        raise ValueError(f"alg {header['alg']}, typ {header['typ']}")
    jwk = {name: header["jwk"][name] for name in ("crv", "kty", "x", "y")}
    x, y = (int.from_bytes(octets(jwk[name])) for name in ("x", "y"))
    raw = octets(signature["signature"])
    if len(raw) != 64 or (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise ValueError("no signature of a P-256 key")
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    key.verify(der, f"{signature['protected']}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    canonical = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    return urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()


def octets(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def joined(arguments: list[str]) -> list[str]:
    """`--key -abc` as `--key=-abc`: one thumbprint in 64 looks like an option."""
    found: list[str] = []
    for each in arguments:
        if found and found[-1] == "--key":
            found[-1] = f"--key={each}"
        else:
            found.append(each)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Check a CA's repository: the signed manifest and what it names."
    )
    parser.add_argument("base", help="http://repository.ca.example, or a mirror of it")
    parser.add_argument(
        "--key", action="append", default=[], help="thumbprint of a manifest key that you trust"
    )
    parser.add_argument("--root", type=Path, help="the root that you trust (PEM)")
    parser.add_argument(
        "--no-lists", action="store_true", help="leave the daily lists out: they may be large"
    )
    options = parser.parse_args(joined(sys.argv[1:] if arguments is None else arguments))
    if int(cryptography.__version__.partition(".")[0]) < CRYPTOGRAPHY:
        print(
            f"the library `cryptography` is {cryptography.__version__} here, and {CRYPTOGRAPHY} or newer is "
            "needed: use a venv",
            file=sys.stderr,
        )
        return 2
    root = None
    try:
        if options.root:
            root = x509.load_pem_x509_certificate(options.root.read_bytes())
        check = Check(options.base, time.time())
        manifest, thumbprints = read(check.fetch(f"{check.base}/manifest.jws"))
        check.aliases = (manifest["base_url"],)
        check.run(options.key, root, not options.no_lists)
    except (Unreadable, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"the manifest lacks {error}", file=sys.stderr)
        return 2
    if not options.key:
        print(f"no --key was given: signed by {', '.join(thumbprints)}; compare that", file=sys.stderr)
    for fault in check.faults:
        print(fault)
    print("all is well" if not check.faults else f"{len(check.faults)} faults", file=sys.stderr)
    return 1 if check.faults else 0


if __name__ == "__main__":
    sys.exit(main())
