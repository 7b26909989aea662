"""Where the hooks inside Orthanc knock. A knock only saves the wait until the next poll."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pacsops.delivery.loop import Wake
from pacsops.errors import SettingsError


class WakeListener:
    """Answers `POST /wake` with 204 and rings the bell; anything else with 404. It reads no body and says nothing."""

    def __init__(self, host: str, port: int, bell: Wake) -> None:
        handler = type("_Handler", (_Knock,), {"bell": bell})
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen for Orthanc's hook on {host}:{port}: {error.strerror}",
                hint="another router runs here already, or ROUTER_WAKE_PORT is taken; 0 does without the hook",
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="wake", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Knock(BaseHTTPRequestHandler):
    bell: Wake
    timeout = 2.0  # a connection that says nothing is let go

    def do_POST(self) -> None:
        if self.path != "/wake":
            self.send_error(404)
            return
        self.bell.ring()
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """The router's log is about deliveries."""
