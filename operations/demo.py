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


ANCHOR = "ca/trust-anchor.pem"
LIVE = "certbot/live/localhost"
"""As the commands name them, seen from the temporary directory."""

CERTBOT_NOISE = ("Saving debug log", "Donating", "supporting our work", "scheduled task", "will be updated")


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
        self._live = place / "certbot/live/localhost"
        # certbot would take the user's own directories; with a file the commands stay short, too.
        (place / "certbot.ini").write_text(
            f"server = https://localhost:{self._acme}/directory\nhttp-01-port = {self._http}\n"
            f"config-dir = {place}/certbot\nwork-dir = {place}/certbot/work\n"
            f"logs-dir = {place}/certbot/logs\n"
            "standalone = true\nnon-interactive = true\nagree-tos = true\n"
            "register-unsafely-without-email = true\n"
        )

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
                    print(f"  {line.strip()}".replace(f"{self._place}/", ""))
                shown += 1
                if "The CA is running" in line:
                    print("  ✓ its processes run: vault, perspective, app, keeper, status")
                    return ca
            if ca.poll() is not None or time.monotonic() > deadline:
                ca.kill()
                raise DemoFailed("the CA did not start; its words are above")
            time.sleep(0.1)

    def _issue(self) -> None:
        _chapter(
            2, "A subscriber", "certbot proves that it controls localhost (http-01) and gets a certificate"
        )
        self._certbot("certonly", "-d", "localhost")
        certificate = x509.load_pem_x509_certificate((self._live / "cert.pem").read_bytes())
        self._serial = certificate.serial_number
        print(f"  ✓ serial {self._serial:x}, by {certificate.issuer.rfc4514_string()}")

    def _verify(self) -> None:
        _chapter(3, "A relying party", "knows the root only, and verifies the chain")
        output = self._run(
            *("openssl", "verify", "-verify_hostname", "localhost", "-purpose", "sslserver"),
            *("-CAfile", ANCHOR, "-untrusted", f"{LIVE}/chain.pem", f"{LIVE}/cert.pem"),
        )
        _must("OK" in output, "openssl verify did not say OK")

    def _ask_ocsp(self, expected: str) -> None:
        if expected == "good":
            _chapter(4, "Is it good today?", "OCSP, signed by a delegated responder")
        else:
            _chapter(6, "And now?", "the same question again")
        output = self._run(
            *("openssl", "ocsp", "-issuer", f"{LIVE}/chain.pem", "-cert", f"{LIVE}/cert.pem"),
            *("-CAfile", ANCHOR, "-no_nonce", "-url", f"http://localhost:{self._public}/ocsp"),
        )
        _must(f"cert.pem: {expected}" in output, f"OCSP did not say {expected}")
        _must("Response verify OK" in output, "the OCSP answer's signature did not verify")

    def _revoke(self) -> None:
        _chapter(5, "The key was lost", "certbot revokes")
        self._certbot(
            *("revoke", "--cert-path", f"{LIVE}/cert.pem"),
            *("--reason", "keycompromise", "--no-delete-after-revoke"),
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
        telling = ("Serial", "Next Update", "Revocation Date", "Reason", "Key Compromise")
        output = self._run(
            *("openssl", "crl", "-inform", "DER", "-in", crl.name, "-noout", "-text"),
            keep=lambda line: any(word in line for word in telling),
        )
        _must(f"{self._serial:X}" in output, "openssl does not find the serial on the CRL")
        print("  ✓ listed")

    def _certbot(self, *words: str) -> None:
        self._run(
            *("certbot", words[0], "--config", "certbot.ini", *words[1:]),
            keep=lambda line: not any(word in line for word in CERTBOT_NOISE),
            environment={"REQUESTS_CA_BUNDLE": ANCHOR},
        )

    def _run(
        self,
        *words: str,
        keep: Callable[[str], bool] = lambda line: True,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Show the command and its output (the lines to `keep`).  Raises `DemoFailed` when it fails."""
        prefix = "".join(f"{key}={value} " for key, value in (environment or {}).items())
        print(f"  $ {prefix}{shlex.join(words)}", flush=True)
        result = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._place,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        for line in result.stdout.splitlines():
            if line.strip(" -") and (result.returncode or keep(line)):
                print(f"    {line.strip().replace(f'{self._place}/', '')}")
        if result.returncode:
            raise DemoFailed(f"{words[0]} failed (exit {result.returncode})")
        return result.stdout


def _chapter(number: int, title: str, words: str) -> None:
    print(f"\n{number}. {title}: {words}", flush=True)


def _must(shown: bool, otherwise: str) -> None:
    if not shown:
        raise DemoFailed(otherwise)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
