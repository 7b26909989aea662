"""Supervisor's XML-RPC interface over its Unix socket (supervisord.org, "XML-RPC API Documentation")."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from typing import Any


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path, self._timeout = path, timeout

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _Connection(self._path, timeout=self._timeout)


class Supervisor:
    """One supervisord. Every call raises OSError when it does not answer, xmlrpc.client.Fault when it refuses."""

    def __init__(self, path: str, timeout: float) -> None:
        """`path` of the socket; `timeout` in seconds, longer than any of its services takes to stop."""
        server = xmlrpc.client.ServerProxy("http://supervisor/RPC2", transport=_Transport(path, timeout))
        self._rpc: Any = server.supervisor

    def answers(self) -> bool:
        """Whether it runs; not while it starts or ends."""
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return False

    def shut_down(self) -> int:
        """Have it stop every service and end, in its own time. Its process.

        Its own restart would do for new configuration, but nobody can see from outside when that has happened.
        """
        pid: int = self._rpc.getPID()
        self._rpc.shutdown()
        return pid

    def unlike_configured(self) -> tuple[set[str], set[str], set[str]]:
        """Services in the configuration files and not here, other here than there, here and not there."""
        [[added, changed, removed]] = self._rpc.reloadConfig()
        return set(added), set(changed), set(removed)

    def running(self) -> set[str]:
        return {process["name"] for process in self._rpc.getAllProcessInfo() if process["statename"] == "RUNNING"}

    def remove(self, service: str) -> None:
        """Stop it, wait for its end, and forget it."""
        self._rpc.stopProcessGroup(service)
        self._rpc.removeProcessGroup(service)

    def add(self, service: str) -> None:
        """Take it from the configuration files, and start it."""
        self._rpc.addProcessGroup(service)

    def start(self, service: str) -> None:
        """Start what is stopped or was given up; nothing for what is starting."""
        process = self._rpc.getProcessInfo(service)
        if process["statename"] in {"STOPPED", "EXITED", "FATAL"}:
            self._rpc.startProcess(service, False)
