"""The viewer's nginx, configured by its roles, in front of a real Orthanc with DICOMweb."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml
from tests.support.network import accepts, eventually, free_port
from tests.support.orthanc import PASSWORD, PLUGINS, USERNAME, OrthancServer

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
USER, USERS_PASSWORD = "radiology", "a-password-for-looking"
ORTHANC_USER, ORTHANC_PASSWORD = "viewer", "a-password-for-nginx"


def orthanc_with_dicomweb() -> OrthancServer:
    """With DICOMweb as a deployment configures it, and the user nginx asks as. Not started yet."""
    variables = yaml.safe_load((CHECKOUT / "roles" / "orthanc" / "vars" / "main.yml").read_text())
    return OrthancServer(
        options={
            "Plugins": [str(PLUGINS / "libOrthancDicomWeb.so")],
            "RegisteredUsers": {USERNAME: PASSWORD, ORTHANC_USER: ORTHANC_PASSWORD},
            "DicomWeb": {"Enable": True, **variables["_orthanc_dicomweb"]},
        }
    )


class Viewer:
    """nginx as the roles certificates and viewer configure it for the runtime supervisor.

    Args:
        folder: the site's home and inventory go there.
        orthanc: what it looks into.
        ohif: the folder of OHIF's files.
        variables: more of the inventory.
    """

    def __init__(self, folder: Path, orthanc: OrthancServer, ohif: Path, **variables: Any) -> None:
        self.home = folder / "home"
        self.inventory = folder / "inventory"
        self.port, self.http_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        self.authority = self.home / "config" / "certificates" / "ca.crt"
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "nginx.log"
        said = {
            "runtime": "supervisor",
            "toolkit_home": str(self.home),
            "toolkit_venv": str(BIN.parent),
            "orthanc_http_port": orthanc.http_port,
            "viewer_https_port": self.port,
            "viewer_http_port": self.http_port,
            "viewer_listen": "127.0.0.1",
            "viewer_ohif_folder": str(ohif),
            "viewer_users": {USER: USERS_PASSWORD},
            "viewer_orthanc_username": ORTHANC_USER,
            "viewer_orthanc_password": ORTHANC_PASSWORD,
            **variables,
        }
        host = {
            "ansible_connection": "local",
            "ansible_host": "192.0.2.13",
            "ansible_python_interpreter": sys.executable,
        }
        self.inventory.mkdir(parents=True)
        (self.inventory / "hosts.json").write_text(
            json.dumps({"all": {"children": {"viewer": {"hosts": {"view1": host}}}, "vars": said}})
        )

    def __enter__(self) -> Self:
        self.configure()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def configure(self, *arguments: str, **variables: Any) -> str:
        """Run the roles; what Ansible printed. AssertionError unless they succeeded."""
        command = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), "tests/support/viewer.yml"]
        command += ["-e", json.dumps(variables), *arguments]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def start(self) -> None:
        command: Sequence[str] = json.loads((self.home / "command.json").read_text())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: accepts(self.port), what=f"nginx listening; it said: {self.log}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def ask(self, path: str, method: str = "GET", *, login: bool = True, **more: Any) -> requests.Response:
        """One request over verified TLS, the path as it is written."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.authority)
        request = requests.Request(method, self.url, auth=(USER, USERS_PASSWORD) if login else None, **more)
        prepared = session.prepare_request(request)
        prepared.url = self.url + path
        return session.send(prepared, timeout=10, allow_redirects=False)
