#!/usr/bin/python
"""Folders and files of a site, all of a role's in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site_files
short_description: Folders and files of a site, all of a role's in one go
description:
  - Puts folders and files in place, with their owners and modes. One call for a role's whole configuration, because a
    task for each is what makes deployments slow.
  - A file is written beside its place, found valid, and renamed. Nothing is written when one of them is not valid.
options:
  folders:
    description: Folders there have to be, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where.
        type: path
        required: true
      mode:
        description: Permissions, in octal digits.
        type: str
        default: "0755"
      owner:
        description: Account, by name or number. Empty for whoever runs this.
        type: str
        default: ""
      group:
        description: Group, likewise.
        type: str
        default: ""
  files:
    description: Files there have to be.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where.
        type: path
        required: true
      content:
        description: What it says. Either this or O(files[].secret).
        type: str
      secret:
        description: What it says, shown neither in a diff nor in a log.
        type: str
      mode:
        description: Permissions, in octal digits.
        type: str
        default: "0644"
      owner:
        description: Account, by name or number. Empty for whoever runs this.
        type: str
        default: ""
      group:
        description: Group, likewise.
        type: str
        default: ""
      validate:
        description: A command that ends with 0 when the file at C(%s) is valid.
        type: list
        elements: str
        default: []
      backup:
        description: Keep what was there beside it, under a name with the date.
        type: bool
        default: false
attributes:
  check_mode:
    support: full
    description: Says and shows what would change.
  diff_mode:
    support: full
    description: Of every file's content, secrets excepted.
author:
  - pacsops
"""

EXAMPLES = r"""
- name: Orthanc's configuration is in place
  site_files:
    folders:
      - {path: /opt/orthanc/data/dicom, mode: "0750", owner: orthanc, group: orthanc}
    files:
      - path: /opt/orthanc/config/orthanc/orthanc.json
        content: "{{ lookup('ansible.builtin.template', 'orthanc.json.j2') }}"
        validate: [python3, -m, json.tool, "%s", /dev/null]
"""

RETURN = r"""
paths:
  description: What is, or in a check run would be, another one than before.
  returned: success
  type: list
  elements: str
  sample: [/opt/orthanc/config/orthanc/orthanc.json]
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PLACE = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
}
FOLDER = {**PLACE, "mode": {"type": "str", "default": "0755"}}
FILE = {
    **PLACE,
    "mode": {"type": "str", "default": "0644"},
    "content": {"type": "str"},
    "secret": {"type": "str", "no_log": True},
    "validate": {"type": "list", "elements": "str", "default": []},
    "backup": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folders": {"type": "list", "elements": "dict", "default": [], "options": FOLDER},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": FILE,
                "mutually_exclusive": [["content", "secret"]],
                "required_one_of": [["content", "secret"]],
            },
        },
        supports_check_mode=True,
    )
    files = module.params["files"]
    before = {file["path"]: content_of(Path(file["path"])) for file in files}
    for file in files:
        if before[file["path"]] != wanted(file):
            require_valid(module, file)
    changed = [folder["path"] for folder in module.params["folders"] if put_folder(module, folder)]
    changed += [file["path"] for file in files if put_file(module, file, before[file["path"]])]
    diff = [difference(file, before[file["path"]]) for file in files if before[file["path"]] != wanted(file)]
    module.exit_json(changed=bool(changed), paths=changed, diff=diff)


def wanted(file: dict[str, Any]) -> bytes:
    text = file["content"] if file["content"] is not None else file["secret"]
    return str(text).encode()


def content_of(path: Path) -> bytes | None:
    """None where there is no file."""
    return path.read_bytes() if path.is_file() else None


def require_valid(module: AnsibleModule, file: dict[str, Any]) -> None:
    """Fail, before anything is written, when the file's command says it is not valid.

    A check run asks as well, except for a program that is not there yet.
    """
    program = next(iter(file["validate"]), None)
    if program is None or (module.check_mode and shutil.which(program) is None):
        return
    with tempfile.NamedTemporaryFile(suffix=Path(file["path"]).suffix, dir=module.tmpdir) as candidate:
        candidate.write(wanted(file))
        candidate.flush()
        code, out, error = module.run_command([word.replace("%s", candidate.name) for word in file["validate"]])
    if code != 0:
        said = "\n".join(filter(None, [out.strip(), error.strip()]))
        module.fail_json(msg=f"{file['path']} would not be valid, nothing was written: {said}")


def put_folder(module: AnsibleModule, folder: dict[str, Any]) -> bool:
    """Whether it was, or in a check run is, not what it has to be."""
    path = Path(folder["path"])
    absent = not path.is_dir()
    if absent and not module.check_mode:
        path.mkdir(parents=True)
    return put_attributes(module, folder, absent)


def put_file(module: AnsibleModule, file: dict[str, Any], before: bytes | None) -> bool:
    """Write it where it differs. Whether it, its owner or its mode was not what it has to be."""
    path = Path(file["path"])
    other = before != wanted(file)
    if other and not module.check_mode:
        if file["backup"] and before is not None:
            module.backup_local(str(path))
        # As mkstemp makes it, readable by its owner alone, until it has the mode and owner of its place.
        descriptor, written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as beside:
            beside.write(wanted(file))
        put_attributes(module, {**file, "path": written}, False)
        module.atomic_move(written, str(path))
    return put_attributes(module, file, other)


def put_attributes(module: AnsibleModule, place: dict[str, Any], changed: bool) -> bool:
    if not Path(place["path"]).exists():  # a check run
        return changed
    asked = {"path": place["path"], "mode": place["mode"]}
    asked |= {key: place[key] for key in ("owner", "group") if place[key]}
    return bool(module.set_fs_attributes_if_different(module.load_file_common_arguments(asked), changed))


def difference(file: dict[str, Any], before: bytes | None) -> dict[str, str]:
    """As Ansible shows it."""
    if file["secret"] is not None:
        return {"before_header": file["path"], "after_header": file["path"], "before": "", "after": "(secret)\n"}
    return {
        "before_header": file["path"],
        "after_header": file["path"],
        "before": (before or b"").decode(errors="replace"),
        "after": wanted(file).decode(),
    }


if __name__ == "__main__":
    main()
