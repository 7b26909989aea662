"""Whatever bytes come, an acceptor neither fails, nor hangs, nor takes half an instance for a whole one."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dimse import CT, EXPLICIT, VERIFICATION, Receiver, receiving

from pacsops.dimse.commands import Command, Operation
from pacsops.dimse.items import OperationsWindow, UserInformation
from pacsops.dimse.p_data import fragment
from pacsops.dimse.pdu import AssociateRequest, ProposedContext, ReleaseRequest

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def conversation() -> bytes:
    """An association with an echo, two instances, a query nobody performs, and its release."""
    request = AssociateRequest(
        called_aet="ANY",
        calling_aet="FUZZ",
        contexts=(ProposedContext(1, CT, (EXPLICIT,)), ProposedContext(3, VERIFICATION, (EXPLICIT,))),
        user=UserInformation(maximum_length=16384, implementation_class_uid="1.2", window=OperationsWindow(2, 1)),
    )
    echo = Command(field=Operation.C_ECHO, sop_class_uid=VERIFICATION, message_id=1)
    find = Command(field=Operation.C_FIND, sop_class_uid=CT, message_id=9, priority=0, data_set=True)
    said = [request.encode(), fragment(3, True, echo.encode(), 4096)]
    for number in (2, 3):
        store = Command(
            field=Operation.C_STORE,
            sop_class_uid=CT,
            message_id=number,
            priority=0,
            data_set=True,
            sop_instance_uid=f"1.2.{number}",
        )
        said += [fragment(1, True, store.encode(), 4096), fragment(1, False, CONTENT, 4096)]
    said += [fragment(1, True, find.encode(), 4096), fragment(1, False, b"key", 4096), ReleaseRequest().encode()]
    return b"".join(said)


CONVERSATION = conversation()


def heard(content: bytes, pieces: list[int]) -> tuple[bytes, Receiver]:
    """What an acceptor answers to `content`, sent in pieces of these lengths; the end of the connection included."""

    async def send() -> tuple[bytes, Receiver]:
        uncaught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: uncaught.append(context))
        async with receiving(patience=10, idle=10, artim=10) as (receiver, acceptor):
            reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.port)
            at = 0
            for length in pieces:
                writer.write(content[at : at + length])
                at += length
                await asyncio.sleep(0)
            writer.write(content[at:])
            writer.write_eof()
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
        assert not uncaught
        return answer, receiver

    return asyncio.run(send())


def kinds(answer: bytes) -> list[int]:
    """The types of the PDUs that an answer consists of: nothing but whole PDUs."""
    found, at = [], 0
    while at < len(answer):
        found.append(answer[at])
        at += 6 + int.from_bytes(answer[at + 2 : at + 6], "big")
    assert at == len(answer)
    return found


def test_the_conversation_itself_is_answered() -> None:
    answer, receiver = heard(CONVERSATION, [])

    assert kinds(answer) == [2, 4, 4, 4, 4, 6]
    assert [one.sha256 for one in receiver.kept] == [DIGEST] * 2


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3000), max_size=30))
def test_how_bytes_are_cut_into_packets_does_not_matter(pieces: list[int]) -> None:
    answer, receiver = heard(CONVERSATION, pieces)

    assert kinds(answer) == [2, 4, 4, 4, 4, 6]
    assert [one.sha256 for one in receiver.kept] == [DIGEST] * 2


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, len(CONVERSATION) - 1), st.integers(0, 255)), max_size=5),
    st.integers(0, len(CONVERSATION)),
)
def test_damaged_and_truncated_conversations_end(damage: list[tuple[int, int]], length: int) -> None:
    content = bytearray(CONVERSATION)
    for position, value in damage:
        content[position] = value

    answer, receiver = heard(bytes(content[:length]), [])

    assert set(kinds(answer)) <= {2, 3, 4, 6, 7}
    assert all(one.length <= len(CONTENT) for one in receiver.kept)


@settings(max_examples=60)
@given(st.binary(max_size=300), st.booleans())
def test_noise_ends(noise: bytes, associated: bool) -> None:
    association = CONVERSATION[: 6 + int.from_bytes(CONVERSATION[2:6], "big")] if associated else b""

    answer, receiver = heard(association + noise, [])

    assert set(kinds(answer)) <= {2, 3, 6, 7}
    assert receiver.kept == []
