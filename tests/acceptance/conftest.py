"""The images of this checkout, built as a deployment builds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    toolkit_home: FOLDER
  tasks:
    - ansible.builtin.import_role: {name: toolkit, tasks_from: check}  # for its variables
      when: false
    - ansible.builtin.include_role: {name: runtime, tasks_from: images, public: true}
      vars:
        _runtime_images_used: "{{ _runtime_image_tags.values() | list }}"
    - ansible.builtin.copy:
        content: "{{ _runtime_image_tags | to_json }}"
        dest: FOLDER/tags.json
        mode: "0644"
"""


def play_images(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Bring this machine's Docker to having the images; their tags are in `folder`/tags.json."""
    playbook = folder / "images.yml"
    playbook.write_text(PLAY.replace("FOLDER", str(folder)))
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(playbook), *options],
        check=False,
        env={**os.environ, "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker engine that answers, with the base image in it."""
    try:
        subprocess.run(["docker", "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.fail(f"no Docker engine answers ({error}). hint: `make acceptance` brings one up")
    subprocess.run([CHECKOUT / "scripts" / "base-image"], check=True)


@pytest.fixture(scope="session")
def images(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tags of the images by name: toolkit, orthanc, postgres, viewer."""
    folder = tmp_path_factory.mktemp("images")
    played = play_images(folder)
    assert played.returncode == 0, played.stdout + played.stderr
    tags: dict[str, str] = json.loads((folder / "tags.json").read_text())
    return tags
