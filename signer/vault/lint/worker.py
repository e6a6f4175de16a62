"""A lint worker: the process, and the vault's end of the socket to it.

A batch is one frame each way: a length of four octets, then MessagePack.  It is decoded by type, so that a
worker which a document has taken over can at worst send wrong findings, and never an object that runs code in
the vault (which `pickle`, and so every pool of the standard library, would let it).

Must never: hold a token, a PIN or a journal.  docs/adr/0004.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import IO, NamedTuple

import msgspec

from core.settings import Rules

_LENGTH = 4
_CHUNK = 1 << 18
_LONGEST = 1 << 24
"""Octets of an answer; one of a thousand findings has 0.1 MiB."""

_context = multiprocessing.get_context("forkserver")


class Kind(StrEnum):
    """What is linted, which decides by which validators."""

    LEAF = "leaf"
    PRECERTIFICATE = "precertificate"
    LOCAL_SERVICE = "local-service"
    LOCAL_SERVICE_ISSUER = "local-service-issuer"
    ROOT = "root"
    ISSUING = "issuing"
    CROSS = "cross"
    OCSP_RESPONDER = "ocsp-responder"
    CRL = "crl"
    ROOT_CRL = "root-crl"
    OCSP = "ocsp"


class Finding(NamedTuple):
    """One finding of pkilint: severity ("fatal", "error", "warning", "notice"), its code and its message."""

    severity: str
    code: str
    message: str


class Work(NamedTuple):
    """A document; `plain` when pkilint shall judge it alone, without index or profile."""

    kind: Kind
    octets: bytes
    plain: bool = False


_work = msgspec.msgpack.Decoder(list[Work])
_findings = msgspec.msgpack.Decoder(list[list[Finding]])
_encode = msgspec.msgpack.Encoder().encode


class Worker:
    """A process that lints, seen from the vault's event loop.

    `done` is called with the findings of what was given, in order; with None when the process has died or
    said something else, and then it is of no more use.
    """

    def __init__(
        self,
        rules: Rules,
        time_limit: float,
        done: Callable[[Worker, list[list[Finding]] | None], None],
        zlint: str = "",
    ):
        self._done = done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._unsent = b""
        self._received = bytearray()
        # The fork server imports pkilint once (0.8 s), the workers are its children and share the memory.
        _context.set_forkserver_preload(["signer.vault.lint.linter"])
        self._process = _context.Process(target=_serve, args=(theirs, rules, time_limit, zlint), daemon=True)
        with theirs:
            try:
                self._process.start()
            except BaseException:
                self._socket.close()
                raise

    def give(self, work: Sequence[Work]) -> None:
        """Lint these.  Not before the last were done."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._readable)
        self._unsent = _frame(_encode(work))
        self._writable()

    def close(self, wait: float) -> None:
        """End the process, by force after `wait` seconds."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._socket.close()
        self._process.join(wait)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _writable(self) -> None:
        assert self._loop is not None
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # it has died, which the reading end tells
        if self._unsent:
            self._loop.add_writer(self._socket, self._writable)
        else:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            received = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._done(self, None)
            return
        self._received += received
        if len(self._received) < _LENGTH:
            return
        end = _LENGTH + int.from_bytes(self._received[:_LENGTH], "big")
        if end > _LONGEST:
            self._done(self, None)
            return
        if len(self._received) < end:
            return
        answer, self._received = self._received[_LENGTH:end], self._received[end:]
        try:
            findings = _findings.decode(answer)
        except msgspec.DecodeError:
            findings = None
        self._done(self, findings)


def _frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH, "big") + payload


# From here on: in the worker.


def _serve(vault: socket.socket, rules: Rules, time_limit: float, zlint: str) -> None:
    threading.Thread(target=_die_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the vault ends us in order
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    from signer.vault.lint import linter
    from signer.vault.lint import zlint as lint_zlint

    linter.warm(rules)
    gc.collect()
    gc.freeze()
    # While this one lints, the vault may end, or end only us.
    with contextlib.suppress(ConnectionError), vault, vault.makefile("rb") as stream:
        while (work := _received(stream)) is not None:
            found = []
            for each in work:
                signal.setitimer(signal.ITIMER_REAL, time_limit)
                findings = linter.lint(rules, each.kind, each.octets, plain=each.plain)
                if zlint and each.kind in lint_zlint.KINDS:
                    findings += lint_zlint.findings(zlint, each.octets, time_limit / 2)
                found.append(findings)
            signal.setitimer(signal.ITIMER_REAL, 0)
            vault.sendall(_frame(_encode(found)))


def _received(stream: IO[bytes]) -> list[Work] | None:
    """The next batch; None when the vault has closed its end."""
    length = stream.read(_LENGTH)
    return _work.decode(stream.read(int.from_bytes(length, "big"))) if length else None


def _die_with(vault: multiprocessing.process.BaseProcess | None) -> None:
    # The end of the socket is seen between two documents only.  A worker holds its fork server's life line,
    # so the fork server cannot end before it: the kernel's PR_SET_PDEATHSIG, which watches the fork server,
    # would wait for ever.  This watches the vault itself.
    if vault is not None:
        vault.join()
    os._exit(1)
