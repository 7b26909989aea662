"""A real Orthanc in a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from pydicom import Dataset
from pynetdicom import AE, build_context
from tests.support.network import accepts, eventually, free_port
from tests.support.postgres import OWNER, PostgresServer

from pacsops.dicom.synthetic import part10
from pacsops.orthanc import Orthanc
from pacsops.settings import Settings

BINARY = Path("/usr/sbin/Orthanc")
PLUGINS = Path("/usr/share/orthanc/plugins")
USERNAME, PASSWORD = "pacsops", "a-password-for-tests"


class OrthancServer:
    """Orthanc on free ports of this host, StableAge 1 s, hardened as a site's; senders need no registration.

    Args:
        postgres: keep the index there through the PostgreSQL plugin; default is SQLite, which starts quicker.
        options: more keys of orthanc.json, or other values for them.
    """

    aet = "ORTHANC"

    def __init__(self, *, postgres: PostgresServer | None = None, options: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pacsops-orthanc-"))
        self.http_port = free_port()
        self.dicom_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._postgres = postgres
        self._index = postgres.create_database().postgres_db if postgres else None
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Orthanc(self.url, USERNAME, PASSWORD)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def log(self) -> str:
        path = self.folder / "orthanc.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def storage(self) -> Path:
        """The images, one file each."""
        return self.folder / "storage"

    @property
    def index(self) -> str:
        """The database of its index in PostgreSQL."""
        assert self._index is not None, "this Orthanc's index is in SQLite"
        return self._index

    @property
    def running(self) -> bool:
        return self._process is not None

    def settings(self, of: Settings) -> Settings:
        """Those settings, pointed at this Orthanc."""
        values = {name: getattr(of, name) for name in Settings.__dataclass_fields__}
        values |= {"orthanc_url": self.url, "orthanc_username": USERNAME, "orthanc_password": PASSWORD}
        values |= {"orthanc_aet": self.aet, "orthanc_dicom_port": self.dicom_port}
        return Settings(**values)

    def start(self) -> None:
        """Start; returns when the REST API reaches the index and the DICOM port is open."""
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(), indent=2))
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BINARY), str(configuration)],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "TCP_NODELAY": "1"},  # as deployed
                start_new_session=True,
            )
        eventually(self._ready, within=30, what="Orthanc answering")

    def stop(self) -> None:
        """Stop as a service does: SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As if its host had lost power, but for what the kernel still writes."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: alive, connected, silent."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def ensure_running(self) -> None:
        """Running and awake, whatever a test did to it."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is None:
            self.start()
        else:
            self.resume()

    def remove(self) -> None:
        if self.running:
            self.kill()
        self.client.close()
        if self._postgres and self._index:
            self._postgres.drop_database(self._index)
        shutil.rmtree(self.folder)

    def backup(self, path: Path) -> None:
        """A cold copy of index and files into the new folder `path`; running again afterwards if it was."""
        was_running = self.running
        if was_running:
            self.stop()
        shutil.copytree(self.folder / "storage", path)
        if self._postgres and self._index:
            self._postgres.create_database(f"{self._index}_{path.name}", template=self._index)
        if was_running:
            self.start()

    def restore(self, path: Path) -> None:
        """Go back to what `backup(path)` kept; running again afterwards if it was."""
        was_running = self.running
        if was_running:
            self.stop()
        shutil.rmtree(self.folder / "storage")
        shutil.copytree(path, self.folder / "storage")
        if self._postgres and self._index:
            self._postgres.drop_database(self._index)
            self._postgres.create_database(self._index, template=f"{self._index}_{path.name}")
        if was_running:
            self.start()

    def clear(self) -> None:
        """Forget every study, change, modality, and stop every job."""
        for job in self._request("GET", "/jobs?expand").json():
            if job["State"] in {"Pending", "Running", "Retry", "Paused"}:
                self._request("POST", f"/jobs/{job['ID']}/cancel", "")
        for patient in self._request("GET", "/patients").json():
            self._request("DELETE", f"/patients/{patient}")
        for name in self._request("GET", "/modalities").json():
            self._request("DELETE", f"/modalities/{name}")
        self._request("DELETE", "/changes")

    def store(self, datasets: Iterable[Dataset], *, calling_aet: str = "SCANNER") -> None:
        """Send over C-STORE, one association, as a modality does. AssertionError unless each was taken."""
        datasets = list(datasets)
        ae = AE(ae_title=calling_aet)
        ae.connection_timeout, ae.acse_timeout, ae.dimse_timeout = 10, 10, 30
        kinds = {(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID) for dataset in datasets}
        contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(kinds)]
        association = ae.associate("127.0.0.1", self.dicom_port, contexts, ae_title=self.aet)
        assert association.is_established, f"Orthanc accepts no association from {calling_aet}"
        try:
            for dataset in datasets:
                answer = association.send_c_store(dataset)
                assert answer and answer.Status == 0x0000, f"Orthanc answered {answer}"
        finally:
            association.release()

    def upload(self, datasets: Iterable[Dataset]) -> list[str]:
        """Send over REST (quicker; no sender AE title). The Orthanc identifiers of the instances."""
        answers = [self._request("POST", "/instances", part10(dataset)).json() for dataset in datasets]
        return [answer["ID"] for answer in answers]

    def study_id(self, study_uid: str) -> str:
        """Orthanc's identifier of the one study with this StudyInstanceUID."""
        found = self._request("POST", "/tools/lookup", study_uid).json()
        [study_id] = [entry["ID"] for entry in found if entry["Type"] == "Study"]
        return str(study_id)

    def delete_study(self, study_id: str) -> None:
        self._request("DELETE", f"/studies/{study_id}")

    def stable(self, study_id: str, *, within: float = 30) -> None:
        """Wait until Orthanc calls the study stable."""
        eventually(
            lambda: self._request("GET", f"/studies/{study_id}").json()["IsStable"],
            within=within,
            what=f"study {study_id} becoming stable",
        )

    def _request(self, method: str, path: str, body: bytes | str | None = None) -> requests.Response:
        response = requests.request(method, self.url + path, data=body, auth=(USERNAME, PASSWORD), timeout=30)
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait(timeout=30)
            self._process = None

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Orthanc stopped:\n{self.log}"
        try:
            answer = requests.get(f"{self.url}/changes?last", auth=(USERNAME, PASSWORD), timeout=5)
        except requests.ConnectionError:
            return False
        return answer.ok and accepts(self.dicom_port)

    def _configuration(self) -> dict[str, Any]:
        storage = self.folder / "storage"
        storage.mkdir(exist_ok=True)
        configuration: dict[str, Any] = {
            "Name": "pacsops tests",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "DatabaseServerIdentifier": "pacsops-tests",
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.aet,
            "DicomCheckCalledAet": True,
            "RemoteAccessAllowed": True,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USERNAME: PASSWORD},
            "ExecuteLuaEnabled": False,
            "WebDavEnabled": False,
            "OrthancExplorerEnabled": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": False,
            "DicomAlwaysAllowMove": False,
            "DicomAlwaysAllowGet": False,
            "DicomModalitiesInDatabase": True,
            "SaveJobs": False,
            "JobsHistorySize": 1000,
            "ConcurrentJobs": 8,
            "DicomScuTimeout": 5,
            "StableAge": 1,
            "OverwriteInstances": False,
            "HttpThreadsCount": 10,
        }
        if self._postgres and self._index:
            configuration["Plugins"] = [str(PLUGINS / "libOrthancPostgreSQLIndex.so")]
            configuration["PostgreSQL"] = {
                "EnableIndex": True,
                "EnableStorage": False,
                "Host": self._postgres.host,
                "Port": self._postgres.port,
                "Database": self._index,
                "Username": OWNER,
                "Password": "",
            }
        plugins = configuration.get("Plugins", []) + self._options.get("Plugins", [])
        return {**configuration, **self._options, "Plugins": plugins}
