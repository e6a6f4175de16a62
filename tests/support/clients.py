"""The real clients of the journeys: certbot on one side, openssl as the relying party on the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from tests.support.ca import REPOSITORY, RunningCa

HOOK = REPOSITORY / "tests/world/hook.py"
CLIENT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Ran:
    """A client's exit code and all it said."""

    code: int
    output: str

    def ok(self) -> Ran:
        """Itself.  Raises AssertionError with the client's log when it failed."""
        assert self.code == 0, self.output
        return self


def run(command: list[str], cwd: Path, seconds: float = CLIENT_SECONDS, **environment: str) -> Ran:
    """Run a client to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ran(done.returncode, done.stdout)


def trusting(ca: RunningCa) -> list[str]:
    """What to write before a command, so that the machine's trust store holds the CA's root and nothing else.

    For clients that know no other: a mount namespace of their own, which needs root.
    """
    store = "/etc/ssl/certs/ca-certificates.crt"
    return [
        program("unshare"),
        "--mount",
        "sh",
        "-c",
        f'mount --bind "$0" {store} && exec "$@"',
        str(ca.trust_anchor),
    ]


def program(name: str) -> str:
    """The path of a client."""
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: scripts/system-packages installs it"
    return found


class Certbot:
    """certbot (Debian's, or `program`) with its files in a directory of its own, registered at `ca`."""

    def __init__(
        self,
        ca: RunningCa,
        directory: Path,
        door: str = "",
        program: str | Path = "certbot",
        trust: Path | None = None,
    ) -> None:
        """`trust` vouches for what is in front of the CA; None is its root."""
        self._trust = trust or ca.trust_anchor
        self._ca = ca
        self._door = door
        self._program = str(program)
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def http01(self, *names: str, options: tuple[str, ...] = ()) -> Ran:
        """`certonly` by http-01, certbot's own server on the validation port."""
        how = ["--standalone", "--preferred-challenges", "http", *self._listen()]
        return self.certonly(names, [*how, *options])

    def dns01(self, *names: str, options: tuple[str, ...] = ()) -> Ran:
        """`certonly` by dns-01, TXT records through the world's door."""
        how = ["--manual", "--preferred-challenges", "dns"]
        how += ["--manual-auth-hook", f"{HOOK} add", "--manual-cleanup-hook", f"{HOOK} clear"]
        return self.certonly(names, [*how, *options])

    def certonly(self, names: tuple[str, ...], how: list[str]) -> Ran:
        """`certonly` for `names`; the lineage is called after the first."""
        words = ["certonly", "--agree-tos", "--email", "person@example.com", "--no-eff-email"]
        for name in names:
            words += ["-d", name]
        return self.run([*words, "--cert-name", lineage(names[0]), *how])

    def renew(self) -> Ran:
        """`renew` whether due or not."""
        return self.run(["renew", "--force-renewal", "--no-random-sleep-on-renew"])

    def revoke(self, name: str, *options: str) -> Ran:
        """`revoke` the current certificate of the lineage of `name`."""
        return self.run(
            ["revoke", "--cert-path", str(self.certificate(name)), "--no-delete-after-revoke", *options]
        )

    def run(self, words: list[str]) -> Ran:
        """Any certbot command, without questions."""
        own = [
            f"--{part}-dir={self.directory / part}" for part in ("config", "work", "logs")
        ]  # certbot need not be root
        return run(
            [self._program, *words, "--non-interactive", "--server", self._ca.directory_url, *own],
            self.directory,
            REQUESTS_CA_BUNDLE=str(self._trust),
            WORLD_DOOR=self._door,
        )

    def certificate(self, name: str) -> Path:
        """The leaf (PEM)."""
        return self.live(name) / "cert.pem"

    def chain(self, name: str) -> Path:
        """The issuing CA (PEM)."""
        return self.live(name) / "chain.pem"

    def live(self, name: str) -> Path:
        """certbot's directory for the lineage of `name`."""
        return self.directory / "config/live" / lineage(name)

    def _listen(self) -> list[str]:
        return ["--http-01-port", str(self._ca.http_port), "--http-01-address", "127.0.0.1"]


def lineage(name: str) -> str:
    """The file name for a DNS name."""
    return name.replace("*", "wildcard")


def load(path: Path) -> x509.Certificate:
    """The first certificate in a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def addresses(certificate: x509.Certificate) -> list[str]:
    """The addresses that it certifies."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(each) for each in names.get_values_for_type(x509.IPAddress)]


def days(certificate: Path) -> int:
    """Its life, in whole days."""
    leaf = load(certificate)
    return round((leaf.not_valid_after_utc - leaf.not_valid_before_utc) / timedelta(days=1))


def parted(chain: Path) -> tuple[Path, Path]:
    """Leaf and issuer of a file that holds the whole chain, as files beside it."""
    leaf, issuer = (chain.with_name(f"{chain.name}.{part}") for part in ("leaf", "issuer"))
    first, *others = chain.read_text().split("-----BEGIN ")[1:]
    leaf.write_text(f"-----BEGIN {first}")
    issuer.write_text("".join(f"-----BEGIN {each}" for each in others))
    return leaf, issuer


def verify(ca: RunningCa, certificate: Path, chain: Path, name: str) -> Ran:
    """`openssl verify` as a TLS client would: anchor, chain, purpose, host name."""
    asked = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name]
    asked += ["-CAfile", str(ca.trust_anchor), "-untrusted", str(chain), str(certificate)]
    return run(asked, ca.directory)


def check(ca: RunningCa, certificate: Path, chain: Path, name: str) -> None:
    """A relying party trusts the certificate for `name`, and OCSP says that it is good."""
    verify(ca, certificate, chain, name).ok()
    assert ocsp(ca, certificate, chain) == "good"


def ocsp(ca: RunningCa, certificate: Path, issuer: Path, *options: str) -> str:
    """`openssl ocsp`'s word for the certificate: "good", "revoked" ...; raises when nothing verifies."""
    asked = ["openssl", "ocsp", "-issuer", str(issuer), "-cert", str(certificate), *options]
    asked += ["-url", f"{ca.public_url}/ocsp", "-CAfile", str(ca.trust_anchor), "-verify_other", str(issuer)]
    ran = run(asked, ca.directory)
    found = re.search(rf"^{re.escape(str(certificate))}: (\w+)", ran.output, re.MULTILINE)
    if ran.code != 0 or "Response verify OK" not in ran.output or found is None:
        raise AssertionError(f"openssl ocsp: {ran.output}")
    return found.group(1)


def crl(ca: RunningCa, certificate: x509.Certificate, issuer: Path) -> str:
    """`openssl crl -text` of the CRL that the certificate points to, its signature verified."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    name = (points[0].full_name or [])[0]
    path = name.value.partition("//")[2].partition("/")[2]
    file = ca.directory / "fetched.crl"
    file.write_bytes(ca.get(f"{ca.public_url}/{path}"))
    ran = run(
        ["openssl", "crl", "-inform", "DER", "-in", str(file), "-CAfile", str(issuer), "-noout", "-text"],
        ca.directory,
    )
    if ran.code != 0 or "verify OK" not in ran.output:
        raise AssertionError(f"openssl crl: {ran.output}")
    return ran.output


def on_crl(ca: RunningCa, certificate: x509.Certificate, issuer: Path) -> bool:
    """Whether its serial number stands on its CRL."""
    return (
        f"Serial Number: {certificate.serial_number:X}".lower()
        in re.sub(r"Serial Number: 0*", "Serial Number: ", crl(ca, certificate, issuer)).lower()
    )


def eventually(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something that other processes do in their own time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
