"""`make demo`: one certificate's whole life, by a throw-away CA, the real certbot and openssl, as a story.

Nothing is staged: the CA is the one that `make run` starts, and every line below a `$` is what that command
printed.  Everything lies in one temporary directory and ends with it.

Must never: touch the user's own certbot, or leave a process behind.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography import x509

START_SECONDS = 90
CRL_SECONDS = 20
"""Twice status.crl_delay's default: a revocation is on a published CRL by then."""


class DemoFailed(Exception):
    """A step did not show what it should; the message says which."""


def main() -> int:
    """Tell the story; 0 when every step showed what it should."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acme-demo-") as name:
        try:
            _Story(Path(name)).tell()
        except DemoFailed as error:
            print(f"\n  ✗ {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print(
        f"\nThat was all of it, in {time.monotonic() - began:.0f} s; nothing of it is left on this machine."
    )
    print("Next:  make run  keeps a CA.  README.md shows how to point your own client at it.")
    return 0


class _Story:
    def __init__(self, place: Path) -> None:
        self._place = place
        self._data = place / "ca"
        self._acme, self._public, self._metrics, self._http = (_free_port() for _ in range(4))
        self._anchor = self._data / "trust-anchor.pem"
        self._live = place / "certbot" / "live" / "localhost"

    def tell(self) -> None:
        _chapter(1, "A new CA", "root and issuing keys are made inside SoftHSM2 tokens, by PKCS#11")
        ca = self._start_ca()
        try:
            self._issue()
            self._verify()
            self._ask_ocsp("good")
            self._revoke()
            self._ask_ocsp("revoked")
            self._crl()
        finally:
            _chapter(8, "The end", "Ctrl-C to the CA; every process ends")
            ca.send_signal(signal.SIGINT)
            ca.wait(60)
        print("  ✓ stopped")

    def _start_ca(self) -> subprocess.Popen[str]:
        settings = {
            "acme.listen": f'["127.0.0.1:{self._acme}"]',
            "acme.base_url": f'"https://localhost:{self._acme}"',
            "repository.listen": f'["127.0.0.1:{self._public}"]',
            "repository.base_url": f'"http://localhost:{self._public}"',
            "metrics.listen": f'["127.0.0.1:{self._metrics}"]',
            "validation.http_port": str(self._http),
            "status.crl_delay": "2",
            "deployment.isolate": "false",
        }
        words = [sys.executable, "-m", "operations.cli", "run", "--data", str(self._data)]
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        log = (self._place / "run.log").open("w+")
        ca = subprocess.Popen(
            words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, text=True, process_group=0
        )
        shown = 0
        deadline = time.monotonic() + START_SECONDS
        while True:
            lines = (self._place / "run.log").read_text().splitlines()
            for line in lines[shown:]:
                if line.strip() and "The CA is running" not in line:
                    print(f"  {line.strip()}")
                shown += 1
                if "The CA is running" in line:
                    print("  ✓ its processes run: vault, perspective, app, status")
                    return ca
            if ca.poll() is not None or time.monotonic() > deadline:
                ca.kill()
                raise DemoFailed("the CA did not start; its words are above")
            time.sleep(0.1)

    def _issue(self) -> None:
        _chapter(
            2, "A subscriber", "certbot proves that it controls localhost (http-01) and gets a certificate"
        )
        self._certbot(
            *("certonly", "--standalone", "--http-01-port", str(self._http), "-d", "localhost"),
            *("--agree-tos", "--register-unsafely-without-email"),
        )
        certificate = x509.load_pem_x509_certificate((self._live / "cert.pem").read_bytes())
        self._serial = certificate.serial_number
        print(f"  ✓ serial {self._serial:x}, by {certificate.issuer.rfc4514_string()}")

    def _verify(self) -> None:
        _chapter(3, "A relying party", "knows the root only, and verifies the chain")
        output = _run(
            *("openssl", "verify", "-verify_hostname", "localhost", "-purpose", "sslserver"),
            *("-CAfile", self._anchor, "-untrusted", self._live / "chain.pem", self._live / "cert.pem"),
        )
        _must("OK" in output, "openssl verify did not say OK")

    def _ask_ocsp(self, expected: str) -> None:
        if expected == "good":
            _chapter(4, "Is it good today?", "OCSP, signed by a delegated responder")
        else:
            _chapter(6, "And now?", "the same question again")
        output = _run(
            *("openssl", "ocsp", "-issuer", self._live / "chain.pem", "-cert", self._live / "cert.pem"),
            *("-CAfile", self._anchor, "-no_nonce", "-url", f"http://127.0.0.1:{self._public}/ocsp"),
        )
        _must(f"cert.pem: {expected}" in output, f"OCSP did not say {expected}")
        _must("Response verify OK" in output, "the OCSP answer's signature did not verify")

    def _revoke(self) -> None:
        _chapter(5, "The key was lost", "certbot revokes")
        self._certbot(
            "revoke",
            "--cert-path",
            str(self._live / "cert.pem"),
            "--reason",
            "superseded",
            "--no-delete-after-revoke",
        )

    def _crl(self) -> None:
        _chapter(7, "For those who read lists", "the serial is on the CRL that the certificate names")
        certificate = x509.load_pem_x509_certificate((self._live / "cert.pem").read_bytes())
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        names = points[0].full_name
        assert names is not None
        url = str(names[0].value)
        crl = self._place / "latest.crl"
        deadline = time.monotonic() + CRL_SECONDS
        fetch = f"import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen({url!r}).read())"
        while True:
            crl.write_bytes(
                subprocess.run([sys.executable, "-c", fetch], capture_output=True, check=True).stdout
            )
            listed = x509.load_der_x509_crl(crl.read_bytes())
            if listed.get_revoked_certificate_by_serial_number(self._serial) is not None:
                break
            if time.monotonic() > deadline:
                raise DemoFailed(f"the serial was not on {url} after {CRL_SECONDS} s")
            time.sleep(0.5)
        print(f"  fetched {url}")
        output = _run(
            *("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text"),
            keep=lambda line: any(
                word in line for word in ("CRL Number", "Serial", "Next Update", "Revocation Date")
            ),
        )
        _must(f"{self._serial:X}" in output, "openssl does not find the serial on the CRL")
        print("  ✓ listed")

    def _certbot(self, *words: str) -> None:
        home = self._place / "certbot"
        _run(
            *("certbot", *words, "--non-interactive"),
            *("--server", f"https://localhost:{self._acme}/directory"),
            *("--config-dir", home, "--work-dir", home / "work", "--logs-dir", home / "logs"),
            environment={"REQUESTS_CA_BUNDLE": str(self._anchor)},
        )


def _chapter(number: int, title: str, words: str) -> None:
    print(f"\n{number}. {title}: {words}", flush=True)


def _run(
    *words: str | Path,
    keep: Callable[[str], bool] = lambda line: True,
    environment: dict[str, str] | None = None,
) -> str:
    """Show the command and its output (the lines to `keep`).  Raises `DemoFailed` when it fails."""
    prefix = "".join(f"{key}={value} " for key, value in (environment or {}).items())
    print(f"  $ {prefix}{shlex.join(map(str, words))}", flush=True)
    result = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    for line in result.stdout.splitlines():
        if line.strip(" -") and keep(line):
            print(f"    {line.strip()}")
    if result.returncode:
        raise DemoFailed(f"{words[0]} failed (exit {result.returncode})")
    return result.stdout


def _must(shown: bool, otherwise: str) -> None:
    if not shown:
        raise DemoFailed(otherwise)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
