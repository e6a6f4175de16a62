"""examples/fleet/renew.py: the loop around the schedule, with a CA that only answers renewalInfo."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from examples.fleet.renew import Fleet, cert_id
from examples.fleet.schedule import FIRST_QUESTIONS, Schedule
from tests.support import tls
from tests.support.acme_client import cert_id as by_our_tests

NOW = 1_900_000_000
DAY = 86400
PAST = {"suggestedWindow": {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}}
FUTURE = {"suggestedWindow": {"start": "2033-01-01T00:00:00Z", "end": "2033-01-02T00:00:00Z"}}
RENEW = "import shutil, sys; assert sys.argv[2].count('.') == 1; shutil.copy(sys.argv[3], sys.argv[1])"


class Ca(HTTPServer):
    """Answers every question with `told`, and remembers the paths in `asked`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.told = b""
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Ca)
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Retry-After", "3600")
        self.end_headers()
        self.wfile.write(self.server.told)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def ca() -> Iterator[Ca]:
    server = Ca()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def certificate(serial: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA")])
    begin = datetime.fromtimestamp(NOW - 30 * DAY, UTC)
    builder = x509.CertificateBuilder(name, name, tls.KEY.public_key(), serial, begin, begin + timedelta(90))
    key_id = x509.AuthorityKeyIdentifier(b"a key identifier", None, None)
    return builder.add_extension(key_id, critical=False).sign(tls.KEY, hashes.SHA256())


def write(path: Path, serial: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(certificate(serial).public_bytes(Encoding.PEM))
    return path


def fleet(ca: Ca, live: Path, fresh: Path) -> Fleet:
    """Its command puts `fresh` into the place of the old file."""
    command = [sys.executable, "-c", RENEW, str(live / "{name}" / "cert.pem"), "{replaces}", str(fresh)]
    url = f"http://127.0.0.1:{ca.server_port}/renewal-info"
    return Fleet(url, live, command, Schedule(random.Random(1).random))


@pytest.mark.clause("RFC 9773 section 4.1")
def test_a_certificate_is_asked_for_by_its_authority_and_its_serial_number_as_der_has_it() -> None:
    assert cert_id(certificate(0x80)) == "YSBrZXkgaWRlbnRpZmllcg.AIA"
    for serial in (1, 0x7F, 0x80, 0x1234, 2**159 - 1):
        assert cert_id(certificate(serial)) == by_our_tests(certificate(serial))


def test_a_certificate_whose_window_is_over_is_renewed_by_the_command_and_asked_for_by_its_new_name(
    ca: Ca, tmp_path: Path
) -> None:
    old = write(tmp_path / "live" / "a.example" / "cert.pem", 1)
    ours = fleet(ca, tmp_path / "live", write(tmp_path / "fresh" / "cert.pem", 2))
    ours.look(NOW)
    ca.told = json.dumps(PAST).encode()
    ours.do(NOW + FIRST_QUESTIONS)
    assert x509.load_pem_x509_certificate(old.read_bytes()).serial_number == 2
    ca.told = json.dumps(FUTURE).encode()
    ours.look(NOW + FIRST_QUESTIONS)
    ours.do(NOW + 2 * FIRST_QUESTIONS)
    asked = [f"/renewal-info/{cert_id(certificate(serial))}" for serial in (1, 2)]
    assert ca.asked == asked
    assert x509.load_pem_x509_certificate(old.read_bytes()).serial_number == 2


def test_a_command_that_leaves_the_old_certificate_is_tried_again_later(
    ca: Ca, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = write(tmp_path / "live" / "a.example" / "cert.pem", 1)
    fresh = write(tmp_path / "fresh" / "cert.pem", 1)
    ours = fleet(ca, tmp_path / "live", fresh)
    ours.look(NOW)
    ca.told = json.dumps(PAST).encode()
    ours.do(NOW + FIRST_QUESTIONS)
    assert "a.example was not renewed" in capsys.readouterr().err
    write(fresh, 2)
    ours.do(NOW + FIRST_QUESTIONS)
    assert x509.load_pem_x509_certificate(old.read_bytes()).serial_number == 1
    ours.do(NOW + FIRST_QUESTIONS + 300)
    assert x509.load_pem_x509_certificate(old.read_bytes()).serial_number == 2


@pytest.mark.parametrize("told", [b"", b"[]", b"{}", b'{"suggestedWindow": 7}', b"<html>"])
def test_an_answer_that_makes_no_sense_is_no_answer(
    ca: Ca, tmp_path: Path, capsys: pytest.CaptureFixture[str], told: bytes
) -> None:
    write(tmp_path / "live" / "a.example" / "cert.pem", 1)
    ours = fleet(ca, tmp_path / "live", tmp_path / "none")
    ours.look(NOW)
    ca.told = told
    ours.do(NOW + FIRST_QUESTIONS)
    assert "no renewal information" in capsys.readouterr().err
