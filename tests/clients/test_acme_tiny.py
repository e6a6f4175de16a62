"""acme-tiny, as Debian ships it: an account key, a CSR, a directory, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ca import RunningCa
from tests.support.clients import check, load, parted, program, run
from tests.support.hosts import webroot

pytestmark = [pytest.mark.long, pytest.mark.clause("RFC 8555 section 7")]


@pytest.mark.client("acme-tiny", "http-01", "renew")
@pytest.mark.clause("RFC 8555 section 8.3")
def test_acme_tiny_gets_a_certificate_by_http_01_and_another_with_the_same_request(
    ca: RunningCa, tmp_path: Path
) -> None:
    name = "acme-tiny.example.com"
    run(["openssl", "genrsa", "-out", "account.key", "2048"], tmp_path).ok()
    asked = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "domain.key"]
    run([*asked, "-out", "domain.csr", "-subj", "/", "-addext", f"subjectAltName=DNS:{name}"], tmp_path).ok()
    words = [program("acme-tiny"), "--directory-url", ca.directory_url, "--account-key", "account.key"]
    words += ["--csr", "domain.csr", "--contact", "mailto:person@example.com", "--disable-check"]
    serials = set()
    with webroot(tmp_path / "www", ca.http_port) as tokens:
        for _ in range(2):
            ran = run([*words, "--acme-dir", str(tokens)], tmp_path, SSL_CERT_FILE=str(ca.trust_anchor)).ok()
            chain = tmp_path / "chain.pem"
            chain.write_text(ran.output[ran.output.index("-----BEGIN") :])
            check(ca, *parted(chain), name)
            serials.add(load(chain).serial_number)
    assert len(serials) == 2
