# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The process that decoders are forked from: ``python -m app.decoding.template DESCRIPTOR LEVEL``.

It has imported all that a decoder needs, has one thread and never opens a file of a client, so a
new decoder takes milliseconds and shares its pages. It ends when its worker closes the connection,
however the worker ends, and its decoders end with it.
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
    """Forks and kills decoders as its worker says."""

    def __init__(self, control: Wire) -> None:
        self._control = control
        #: by process id: the worker's number of a decoder, and our copy of its connection
        self._decoders: dict[int, tuple[int, Wire]] = {}
        self._wakeup = os.pipe()
        for end in self._wakeup:
            os.set_blocking(end, False)

    def serve(self) -> None:
        """Until the worker is gone."""
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
        """All orders that have come. Raises EOFError: the worker is gone."""
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
        """In a new decoder: what belongs to the template must not stay open here."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        limits.end_with_parent()
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)
        self._control.close()
        for end in self._wakeup:
            os.close(end)
        for _, wire in self._decoders.values():
            wire.close()

    def _kill(self, number: int) -> None:
        # Safe from reused process ids: one that has ended keeps its id until _reap.
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
        """The decoder's last message, told by this process: it knows how the decoder ended."""
        with suppress(OSError):
            wire.send_after_break(message)
        wire.close()


def main() -> None:
    """Entry point."""
    control = Wire(socket.socket(fileno=int(sys.argv[1])))
    logging.getLogger().setLevel(sys.argv[2])
    Image.init()  # all formats now, not in each decoder
    gc.collect()
    gc.freeze()  # its marks would copy pages into every decoder
    Template(control).serve()


if __name__ == "__main__":
    main()
