"""A way to the database that can be blocked: what is connected stays so, and nothing comes through, as behind a broken network."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

PART_BYTES = 65_536


class Way:
    """Leads from a port on this machine to where a connection string points."""

    def __init__(self, conninfo: str) -> None:
        self._parts: dict[str, Any] = conninfo_to_dict(conninfo)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._let_in, daemon=True).start()

    def leading(self, conninfo: str) -> str:
        """The same connection by this way."""
        port = self._door.getsockname()[1]
        return make_conninfo(conninfo, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable")

    def block(self) -> None:
        """Let nothing through from now on."""
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._door.close()
        self._open.set()

    def _let_in(self) -> None:
        while True:
            try:
                here, _ = self._door.accept()
            except OSError:
                return
            there = self._server()
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _server(self) -> socket.socket:
        host, port = str(self._parts["host"]), str(self._parts.get("port", 5432))
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return line

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(PART_BYTES):
                self._open.wait()
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
