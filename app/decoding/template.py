# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that decoders are forked from: ``python -m app.decoding.template DESCRIPTOR LEVEL``.

The template has imported every module that a decoder needs, so a new decoder starts in milliseconds
and shares the template's memory pages. The template has one thread, which makes forking safe, and
never opens a client's file. It exits when the connection to its worker closes, which also happens
when the worker crashes, and its decoders exit with it.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress

from PIL import Image

from app.decoding import decoder, limits
from app.decoding.wire import Wire


class Template:
    """Forks and kills decoders on the worker's orders."""

    def __init__(self, control: Wire) -> None:
        self._control = control
        #: for each process id, the worker's number of the decoder and a copy of the decoder's wire
        self._decoders: dict[int, tuple[int, Wire]] = {}
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Carry out orders until the worker closes the connection."""
        signal.set_wakeup_fd(self._wakeup[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._wakeup[0], selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if self._wakeup[0] in ready:
                os.read(self._wakeup[0], 4096)
                self._reap()
            if self._control in ready:
                try:
                    self._obey()
                except EOFError:
                    return

    def _obey(self) -> None:
        """Carry out all received orders. Raises EOFError if the worker closed the connection."""
        more = True
        while more:
            order = self._control.receive()
            if "fork" in order:
                self._fork(order["fork"], order["memory"])
            else:
                self._kill(order["kill"])
            more = self._control.has_more()

    def _fork(self, number: int, memory: int) -> None:
        wire = Wire(socket.socket(fileno=self._control.take_descriptor()))
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell_end(wire, {"answer": "not started", "reason": error.strerror})
            return
        if pid:
            self._decoders[pid] = number, wire
            return
        status = 1
        try:
            self._leave(parent)
            decoder.serve(wire, memory)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _leave(self, parent: int) -> None:
        """Make a new decoder drop the signal handlers and connections of the template."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        limits.end_with_parent()
        if os.getppid() != parent:  # the template died before end_with_parent took effect
            os._exit(1)
        self._control.close()
        for end in self._wakeup:
            os.close(end)
        for _, wire in self._decoders.values():
            wire.close()

    def _kill(self, number: int) -> None:
        # The id cannot belong to another process: it stays reserved until _reap collects it.
        for pid, (each, _) in self._decoders.items():
            if each == number:
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._decoders:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _, wire = self._decoders.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            self._tell_end(wire, {"answer": "ended", "status": code})

    @staticmethod
    def _tell_end(wire: Wire, message: dict[str, object]) -> None:
        """Tell the worker how a decoder ended, as the last message on the decoder's connection."""
        with suppress(OSError):
            wire.send_after_break(message)
        wire.close()


def main() -> None:
    """Load what all decoders need, then obey the worker until it closes the connection."""
    control = Wire(socket.socket(fileno=int(sys.argv[1])))
    logging.getLogger().setLevel(sys.argv[2])
    Image.init()  # loads all format plugins once, instead of in each decoder
    gc.collect()
    gc.freeze()  # a collection in a decoder would write to shared pages and copy them
    Template(control).serve()


if __name__ == "__main__":
    main()
