"""Where fuzzing begins: valid inputs of each target, made from our own encoder and from pydicom's test files."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pydicom

from fuzz.conversations import ACCEPTANCE, CT, EXPLICIT, FIND, IMAGES, MATCH, REQUEST, SEPARATOR
from fuzz.targets import SYNTAXES
from pacsops.dicom.synthetic import Study, part10
from pacsops.dimse import VERIFICATION, ExtendedNegotiation, StoredInstance, UnreadableFile, UserIdentity
from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.items import Role, UserInformation
from pacsops.dimse.p_data import COMMAND, LAST, fragment
from pacsops.dimse.pdu import (
    HEADER,
    Abort,
    AssociateReject,
    AssociateRequest,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
)

_LONGEST_FILE = 15 << 10
"""Bytes of test files that are kept: the header is what is read."""
_ROOT = Path(__file__).parents[1]
_TESTED = Path(pydicom.__file__).parent / "data"


def write(target: str, folder: Path) -> int:
    """Write a target's seeds into a folder; how many there are now."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in of(target):
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
    return len(list(folder.iterdir()))


def of(target: str) -> Iterator[bytes]:
    """A target's seeds."""
    return _SEEDS[target]()


def _image() -> tuple[bytes, str]:
    """A data set with everything in its header, and its SOP instance UID."""
    study = Study(seed=1)
    study.add_series("CT", sizes=[(4, 4)])
    with StoredInstance(content := part10(study.datasets[0])) as stored:
        return content[stored.offset :], stored.instance.sop_instance_uid


def _asked() -> list[tuple[int, Command, bytes | None]]:
    """Contexts, commands and data sets a requestor may send."""
    image, uid = _image()
    store = Command(
        field=Operation.C_STORE, sop_class_uid=CT, message_id=2, priority=0, data_set=True, sop_instance_uid=uid
    )
    other = {"sop_class_uid": VERIFICATION}, {"sop_instance_uid": "x"}, {"sop_instance_uid": "1.2"}
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return [
        (3, Command(field=Operation.C_ECHO, sop_class_uid=VERIFICATION, message_id=1), None),
        (1, store, image),
        (7, store, deflater.compress(image) + deflater.flush()),
        (5, Command(field=Operation.C_FIND, sop_class_uid=FIND, message_id=5, priority=0, data_set=True), MATCH),
        (5, Command(field=Operation.C_CANCEL, responded_to=5), None),
        (5, Command(field=Operation.C_MOVE, sop_class_uid=FIND, message_id=6, priority=0, data_set=True), MATCH),
        (5, Command(field=Operation.C_FIND, sop_class_uid=CT, message_id=7, priority=0, data_set=True), MATCH),
        *((1, replace(store, **changed), image) for changed in other),
    ]


def _answered() -> list[tuple[int, Command, bytes | None]]:
    """What a peer answers to an echo, two images and a query, in the order in which ours are asked."""
    asked = [
        (3, Command(field=Operation.C_ECHO, sop_class_uid=VERIFICATION, message_id=1)),
        *((1, Command(field=Operation.C_STORE, sop_class_uid=CT, message_id=number)) for number in (2, 3)),
    ]
    find = Command(field=Operation.C_FIND, sop_class_uid=FIND, message_id=4)
    return [
        *((context, command.answer(0), None) for context, command in asked),
        (5, find.answer(0xFF00, data_set=True), MATCH),
        (5, find.answer(0xFF01, data_set=True), b"enough"),
        (5, find.answer(0xFE00, "cancelled"), None),
    ]


def _conversation(said: list[tuple[int, Command, bytes | None]]) -> bytes:
    parts = []
    for context, command, data_set in said:
        parts.append(fragment(context, True, command.encode(), 4096))
        if data_set is not None:
            parts.append(fragment(context, False, data_set, 300))
    return b"".join(parts)


def _values(said: list[tuple[int, Command, bytes | None]]) -> bytes:
    values = []
    for context, command, data_set in said:
        number = (context - 1) // 2 << 4
        values.append(bytes((number | COMMAND | LAST,)) + command.encode())
        if data_set is not None:
            half = len(data_set) // 2
            values += [bytes((number,)) + data_set[:half], bytes((number | LAST,)) + data_set[half:]]
    return SEPARATOR.join(values)


def _acceptor() -> Iterator[bytes]:
    for mode, said in itertools.product((b"\0", b"\1", b"\x80"), (_asked()[:2], _asked()[3:])):
        yield mode + REQUEST.encode() + _conversation(said) + ReleaseRequest().encode()
    yield b"\x40" + REQUEST.encode() + Abort().encode()


def _acceptor_messages() -> Iterator[bytes]:
    asked = _asked()
    for said in (asked[:2], asked[2:3], asked[3:5], asked[5:], [asked[1], asked[1]]):
        yield b"\0" + _values(said)
        yield b"\1" + _values(said)


def _requestor() -> Iterator[bytes]:
    answered = _conversation(_answered())
    for mode in (b"\0", b"\x80"):
        yield mode + ACCEPTANCE.encode() + answered + ReleaseResponse().encode()
        yield mode + ACCEPTANCE.encode() + ReleaseRequest().encode() + ReleaseResponse().encode()
        yield mode + AssociateReject(1, 1, 7).encode()
        yield mode + ACCEPTANCE.encode() + Abort(2, 1).encode()


def _requestor_messages() -> Iterator[bytes]:
    answered = _answered()
    for number in range(1, len(answered) + 1):
        yield b"\0" + _values(answered[:number])
    yield b"\x80" + _values(answered)


def _pdu() -> Iterator[bytes]:
    everything = UserInformation(
        maximum_length=16384,
        implementation_class_uid="1.2.3",
        implementation_version="V",
        window=REQUEST.user.window,
        roles=(Role(CT, True, False),),
        extended=(ExtendedNegotiation(FIND, b"\1\0\1"),),
        identity=UserIdentity(2, b"operator", b"secret", True),
        identity_response=b"ticket",
    )
    request = AssociateRequest(called_aet="A", calling_aet="B", contexts=REQUEST.contexts, user=everything)
    roles = tuple(Role(f"{number:04}", True, True) for number in range(5460))  # as many as have room
    many = tuple(ProposedContext(2 * number + 1, CT, (EXPLICIT,)) for number in range(128))
    for pdu in (
        request,
        AssociateRequest(called_aet="A", calling_aet="B", contexts=many, user=everything),
        AssociateRequest(called_aet="A", calling_aet="B", contexts=many, user=UserInformation(roles=roles)),
        ACCEPTANCE,
        AssociateReject(2, 3, 2),
        ReleaseRequest(),
        ReleaseResponse(),
        Abort(2, 6),
    ):
        encoded = pdu.encode()
        yield encoded[:1] + encoded[HEADER.size :]


def _command() -> Iterator[bytes]:
    for _, command, _ in (*_asked(), *_answered()):
        yield command.encode()


def _file() -> Iterator[bytes]:
    yield from IMAGES
    for path in sorted(_TESTED.rglob("*")):
        if path.is_file():
            content = path.read_bytes()[:_LONGEST_FILE]
            if content[128:132] == b"DICM":
                yield content


def _header() -> Iterator[bytes]:
    for content in _file():
        try:
            with StoredInstance(content) as stored:
                syntax = stored.instance.transfer_syntax_uid
                number = SYNTAXES.index(syntax) if syntax in SYNTAXES else 1
                yield bytes((number,)) + content[stored.offset :]
        except UnreadableFile:
            continue


def _gateway_yml() -> Iterator[bytes]:
    yield b"""
peers:
  - {aet: CT1, address: 10.1.2.0/24, associations: 4}
destinations:
  PACS: {host: 10.1.2.3, port: 104, aet: PACS, tls: true}
  AI-1: &worker {host: 10.9.0.11, port: 11112, aet: AI1, associations: 1}
  AI-2: *worker
pools:
  AI: {members: [AI-1], timeout: 120}
results:
  series_description: AI_RESULT
private_sop_classes: true
"""
    yield from (b"{}", b"peers: []", b"a: 2001-12-14t21:59:43.10-05:00", b"a: 0x1F", b"a: 190:20:30", b"!!set {a}")


def _routes_yml() -> Iterator[bytes]:
    for path in sorted(_ROOT.glob("inventories/*/**/routes.yml")):
        yield path.read_bytes()
    yield (_ROOT / "tests/unit/routes/example_routes.yml").read_bytes()[: 8 << 10]


_SEEDS = {
    "acceptor": _acceptor,
    "acceptor_messages": _acceptor_messages,
    "requestor": _requestor,
    "requestor_messages": _requestor_messages,
    "pdu": _pdu,
    "command": _command,
    "file": _file,
    "header": _header,
    "gateway_yml": _gateway_yml,
    "routes_yml": _routes_yml,
}
TARGETS = tuple(_SEEDS)
