"""Command sets, as pydicom and pynetdicom read and write them."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_FIND_RSP, C_STORE_RQ
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.dsutils import decode as decode_dataset
from pynetdicom.dsutils import encode as encode_dataset

from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.errors import ProtocolViolation

CT = "1.2.840.10008.5.1.4.1.1.2"
STORE = Command(
    field=Operation.C_STORE,
    sop_class_uid=CT,
    message_id=7,
    priority=0,
    data_set=True,
    sop_instance_uid="1.2.3",
    move_originator_aet="MERCURE",
    move_originator_message_id=4,
)
FAILURE = Command(
    field=Operation.C_FIND | 0x8000,
    sop_class_uid=CT,
    responded_to=7,
    status=0xA900,
    offending=(0x00100010, 0x00080052),
    comment="identifier does not match",
)


def test_a_store_request_of_pynetdicom_is_understood() -> None:
    primitive = C_STORE()
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, "1.2.3"
    primitive.MessageID, primitive.Priority, primitive.DataSet = 7, 0, BytesIO(b"\0\0")
    primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = "MERCURE", 4
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    encoded = encode_dataset(message.command_set, is_implicit_vr=True, is_little_endian=True)

    assert encoded is not None
    assert Command.decode(encoded) == STORE


def test_a_failure_of_pynetdicom_is_understood() -> None:
    primitive = C_FIND()
    primitive.AffectedSOPClassUID, primitive.MessageIDBeingRespondedTo = CT, 7
    primitive.Status, primitive.ErrorComment = 0xA900, "identifier does not match"
    primitive.OffendingElement = [0x00100010, 0x00080052]
    message = C_FIND_RSP()
    message.primitive_to_message(primitive)
    encoded = encode_dataset(message.command_set, is_implicit_vr=True, is_little_endian=True)

    assert encoded is not None
    assert Command.decode(encoded) == FAILURE


@pytest.mark.parametrize("command", [STORE, FAILURE])
def test_pydicom_reads_and_writes_the_same_bytes(command: Command) -> None:
    encoded = command.encode()
    dataset = decode_dataset(BytesIO(encoded), is_implicit_vr=True, is_little_endian=True)

    assert encode_dataset(dataset, is_implicit_vr=True, is_little_endian=True) == encoded
    assert dataset.CommandGroupLength == len(encoded) - 12


def test_an_answer_names_what_it_answers() -> None:
    answer = STORE.answer(0xA700, "the disk is full " * 8)

    assert Command.decode(answer.encode()) == Command(
        field=0x8001,
        sop_class_uid=CT,
        responded_to=7,
        status=0xA700,
        comment=("the disk is full " * 8)[:64].rstrip(),
        sop_instance_uid="1.2.3",
    )


def test_what_is_longer_than_any_uid_is_not_said_again() -> None:
    long = Command(field=Operation.C_STORE, sop_class_uid="1" * 65, message_id=7, sop_instance_uid="1" * 30_000)

    assert long.answer(0x0117) == Command(field=0x8001, responded_to=7, status=0x0117)
    assert STORE.answer(0).sop_instance_uid == "1.2.3"


numbers = st.none() | st.integers(0, 0xFFFF)
uids = st.from_regex(r"([0-9.]{1,64})?", fullmatch=True)
commands = st.builds(
    Command,
    field=st.integers(0, 0xFFFF),
    sop_class_uid=uids,
    message_id=st.integers(0, 0xFFFF),
    responded_to=numbers,
    priority=numbers,
    data_set=st.booleans(),
    status=numbers,
    offending=st.lists(st.integers(0, 0xFFFFFFFF), max_size=4).map(tuple),
    comment=st.from_regex(r"([a-z][a-z ]{0,60}[a-z])?", fullmatch=True),
    sop_instance_uid=uids,
    move_originator_aet=st.from_regex(r"([A-Z]{1,16})?", fullmatch=True),
    move_originator_message_id=numbers,
)


@given(commands)
def test_every_command_survives_the_way_there_and_back(command: Command) -> None:
    assert Command.decode(command.encode()) == command


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Command.decode(noise)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=6), st.integers(0, 500))
def test_damaged_and_truncated_commands_are_refused_or_read(damage: list[tuple[int, int]], length: int) -> None:
    encoded = bytearray(STORE.encode())
    for position, value in damage:
        encoded[position % len(encoded)] = value
    for content in (bytes(encoded), bytes(encoded[: length % (len(encoded) + 1)])):
        try:
            Command.decode(content)
        except ProtocolViolation:
            continue


def test_a_command_without_a_field_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="Command Field"):
        Command.decode(b"\0\0\x10\1\2\0\0\0\7\0")
