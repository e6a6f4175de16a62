"""Hosts for clients that have none of their own: a web server, and a responder for tls-alpn-01.

Both serve what a client has put into a directory, on the ports where the CA validates.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.tls import ALPN, certificate, context, der, names

TOKENS = ".well-known/acme-challenge"
"""Where http-01 looks (RFC 8555 section 8.3)."""

STOP_SECONDS = 20


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """What failed shows in the client's log."""


@contextmanager
def webroot(directory: Path, port: int) -> Iterator[Path]:
    """A web server on `port` of loopback with `directory` as its root; gives where the tokens belong."""
    tokens = directory / TOKENS
    tokens.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def alpn_responder(directory: Path, port: int) -> Iterator[None]:
    """A tls-alpn-01 responder: shows NAME.crt.pem with NAME.key.pem of `directory` to who asks for NAME."""
    fallback = context(der(certificate(names("nobody.invalid"))))

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is not None and (directory / f"{name}.crt.pem").exists():
            own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            own.set_alpn_protocols([ALPN])
            own.load_cert_chain(directory / f"{name}.crt.pem", directory / f"{name}.key.pem")
            connection.context = own

    fallback.sni_callback = choose
    listening = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return  # closed: the end
            plain.settimeout(10)
            with suppress(OSError), plain, fallback.wrap_socket(plain, server_side=True) as tls:
                tls.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@contextmanager
def running(words: Sequence[str], directory: Path, **environment: str) -> Iterator[Path]:
    """A program in the background while the context is open; gives the file of all it says."""
    log = directory / f"{Path(words[0]).name}.log"
    own: Mapping[str, str] = {"XDG_DATA_HOME": str(directory), "HOME": str(directory), **environment}
    with log.open("ab") as out:
        process = subprocess.Popen(
            words,
            cwd=directory,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        yield log
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text(errors='replace')[-4000:]}") from error
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def shown(port: int, name: str, trust: Path) -> bytes | None:
    """The certificate (DER) that the HTTPS server on `port` of loopback shows for `name`.

    None when there is none, or the root in `trust` does not vouch for it.
    """
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            ssl.create_default_context(cafile=str(trust)).wrap_socket(plain, server_hostname=name) as tls,
        ):
            return tls.getpeercert(binary_form=True)
    except OSError:
        return None
