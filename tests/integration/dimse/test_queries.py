"""C-FIND and C-CANCEL, asked and performed: against Orthanc, DCMTK and pynetdicom, and against ourselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode, encode
from tests.support.dimse import (
    EXPLICIT,
    IMPLICIT,
    STUDY_ROOT_FIND,
    dcmtk,
    in_loop,
    local,
    policy,
)
from tests.support.network import eventually, free_port
from tests.support.orthanc import OrthancServer
from tests.support.studies import a_study

from pacsops.dimse import (
    Answer,
    Association,
    Context,
    DimseError,
    FindRequest,
    Handlers,
    Match,
    OperationFailed,
    PeerSilent,
    Refused,
    Terms,
    Timeouts,
    associate,
    serve,
)
from pacsops.orthanc import Modality, ensure

FIND = [Context(STUDY_ROOT_FIND, [EXPLICIT])]
Answers = Callable[[FindRequest], AsyncGenerator[Match]]


def studies(**keys: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = ""
    query.PatientID = ""
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    return query


def encoded(dataset: Dataset, transfer_syntax: str = EXPLICIT) -> bytes:
    content = encode(dataset, is_implicit_vr=transfer_syntax == IMPLICIT, is_little_endian=True)
    assert content is not None
    return content


def decoded(content: bytes, transfer_syntax: str = EXPLICIT) -> Dataset:
    return decode(BytesIO(content), is_implicit_vr=transfer_syntax == IMPLICIT, is_little_endian=True)


def numbered(number: int) -> bytes:
    return encoded(studies(StudyInstanceUID=f"1.2.{number}"))


async def five(_: FindRequest) -> AsyncGenerator[Match]:
    for number in range(5):
        yield Match(numbered(number))


@asynccontextmanager
async def asking(find: Answers, *, terms: Terms | None = None, **others: Any) -> AsyncGenerator[Association]:
    async with (
        serve("127.0.0.1", 0, Handlers(find=find), policy(**others)) as acceptor,
        associate(local(acceptor.port), "EDGE", FIND, terms) as association,
    ):
        yield association


def test_orthanc_is_asked(orthanc: OrthancServer) -> None:
    ensure(orthanc.client, Modality(name="EDGE", aet="EDGE", host="127.0.0.1", port=104, allow_find=True))
    made = [a_study(patient_id=f"P{number}").with_series("CT") for number in range(3)]
    for study in made:
        orthanc.store(study.datasets)

    @in_loop
    async def ask() -> None:
        peer = local(orthanc.dicom_port, orthanc.aet)
        async with associate(peer, "EDGE", [Context(STUDY_ROOT_FIND, [EXPLICIT, IMPLICIT])]) as association:
            _, syntax = association.agreed.context_for(STUDY_ROOT_FIND)
            async with association.find(STUDY_ROOT_FIND, encoded(studies(), syntax)) as query:
                found = {decoded(match.identifier, syntax).StudyInstanceUID async for match in query}
            assert query.answer == Answer(0x0000)
            assert found == {study.study_uid for study in made}
            async with association.find(STUDY_ROOT_FIND, encoded(studies(PatientID="P1"), syntax)) as query:
                assert [decoded(match.identifier, syntax).PatientID async for match in query] == ["P1"]

    ask()


@pytest.fixture
def archive() -> Any:
    """A pynetdicom query SCP: matches without end, until it is cancelled, and what it heard."""
    heard: list[str] = []
    port = free_port()

    def find(event: evt.Event) -> Any:
        heard.append("find")
        for number in range(100_000):
            if event.is_cancelled:
                heard.append("cancelled")
                yield 0xFE00, None
                return
            threading.Event().wait(0.001)
            yield 0xFF00 if number % 2 else 0xFF01, studies(StudyInstanceUID=f"1.2.{number}")

    ae = AE()
    ae.add_supported_context(STUDY_ROOT_FIND, EXPLICIT)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    yield port, heard
    server.shutdown()


def test_a_query_that_is_left_is_cancelled_and_the_association_goes_on(archive: Any) -> None:
    port, heard = archive

    @in_loop
    async def ask() -> None:
        async with associate(local(port), "EDGE", FIND) as association:
            for _ in range(2):
                async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
                    found = []
                    async for match in query:
                        found.append(match)
                        if len(found) == 3:
                            break
                assert [match.all_keys_supported for match in found] == [False, True, False]
                assert query.answer == Answer(0xFE00)

    ask()
    eventually(lambda: heard == ["find", "cancelled"] * 2)


def test_a_query_cancelled_in_the_middle_ends_without_an_error(archive: Any) -> None:
    port, _ = archive

    @in_loop
    async def ask() -> None:
        async with (
            associate(local(port), "EDGE", FIND) as association,
            association.find(STUDY_ROOT_FIND, encoded(studies())) as query,
        ):
            count = 0
            async for _ in query:
                count += 1
                if count == 5:
                    await query.cancel()
            assert count >= 5

    ask()


@in_loop
async def test_findscu_gets_every_match(tmp_path: Path) -> None:
    seen: list[FindRequest] = []

    async def answer(request: FindRequest) -> AsyncGenerator[Match]:
        seen.append(request)
        for number in range(100):
            yield Match(encoded(studies(StudyInstanceUID=f"1.2.{number}"), request.transfer_syntax_uid))

    async with serve("127.0.0.1", 0, Handlers(find=answer), policy()) as acceptor:
        key = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientID=P*")
        code, said = await dcmtk(
            "findscu", "-S", "-aet", "READER", "-X", "-od", tmp_path, *key, "127.0.0.1", acceptor.port
        )

    assert code == 0, said
    assert len(list(tmp_path.iterdir())) == 100
    (request,) = seen
    assert (request.caller.aet, request.sop_class_uid) == ("READER", STUDY_ROOT_FIND)
    assert decoded(request.identifier, request.transfer_syntax_uid).PatientID == "P*"


@in_loop
async def test_findscu_cancels(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def endless(request: FindRequest) -> AsyncGenerator[Match]:
        try:
            while True:
                await asyncio.sleep(0.005)
                yield Match(encoded(studies(StudyInstanceUID="1.2"), request.transfer_syntax_uid))
        finally:
            ended.set()

    async with serve("127.0.0.1", 0, Handlers(find=endless), policy()) as acceptor:
        key = ("-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID")
        _, said = await dcmtk("findscu", "-v", "-S", "--cancel", 5, *key, "127.0.0.1", acceptor.port)

    assert "Cancel: MatchingTerminatedDueToCancelRequest" in said
    assert ended.is_set()


@in_loop
async def test_pynetdicom_gets_every_match_in_small_pdus() -> None:
    def ask(port: int) -> list[str]:
        ae = AE()
        ae.add_requested_context(STUDY_ROOT_FIND, EXPLICIT)
        association = ae.associate("127.0.0.1", port, max_pdu=64)
        found = [
            str(identifier.StudyInstanceUID)
            for status, identifier in association.send_c_find(studies(), STUDY_ROOT_FIND)
            if status.Status == 0xFF00
        ]
        association.release()
        return found

    async with serve("127.0.0.1", 0, Handlers(find=five), policy()) as acceptor:
        assert await asyncio.to_thread(ask, acceptor.port) == [f"1.2.{number}" for number in range(5)]


@in_loop
async def test_a_cancel_at_once_is_answered() -> None:
    async def endless(_: FindRequest) -> AsyncGenerator[Match]:
        await asyncio.Event().wait()
        yield Match(b"")

    async with asking(endless) as association:
        async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
            await query.cancel()
            assert [match async for match in query] == []

        assert query.answer == Answer(0xFE00)
        assert association.ended is None


@in_loop
async def test_a_cancel_that_comes_too_late_disturbs_nothing() -> None:
    async with asking(five) as association:
        for _ in range(2):
            async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
                found = [match.identifier async for match in query]
                query.answer = None  # as if the last answer had crossed the cancel
                await query.cancel()
                query.answer = Answer()
            assert found == [numbered(number) for number in range(5)]


@in_loop
async def test_no_match_is_no_error() -> None:
    async def nothing(_: FindRequest) -> AsyncGenerator[Match]:
        for match in ():
            yield match

    async with asking(nothing) as association:
        async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
            assert [match async for match in query] == []
        assert query.answer == Answer(0x0000)


@in_loop
async def test_a_failure_after_matches_is_raised_after_them() -> None:
    async def half(_: FindRequest) -> AsyncGenerator[Match]:
        yield Match(numbered(1))
        raise Refused(Answer(0xA700, "one source did not answer"))

    found = []
    async with asking(half) as association:
        with pytest.raises(OperationFailed, match="one source did not answer") as failed:
            async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
                async for match in query:
                    found.append(match)
        assert association.ended is None

    assert (failed.value.status, len(found)) == (0xA700, 1)


@in_loop
async def test_a_handler_with_a_defect_fails_its_query_alone() -> None:
    async def stumble(request: FindRequest) -> AsyncGenerator[Match]:
        yield Match(request.identifier)
        raise KeyError

    async with asking(stumble) as association:
        for _ in range(2):
            with pytest.raises(OperationFailed, match="0x0110, processing failure"):
                async with association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
                    assert len([match async for match in query]) == 1


@in_loop
async def test_thousands_of_matches_wait_for_a_slow_reader() -> None:
    given = 0

    async def many(_: FindRequest) -> AsyncGenerator[Match]:
        nonlocal given
        for _ in range(2000):
            given += 1
            yield Match(bytes(10_000))

    async with asking(many) as association, association.find(STUDY_ROOT_FIND, encoded(studies())) as query:
        assert len((await anext(query)).identifier) == 10_000
        last = -1
        while given != last:  # until nothing moves any more: everything on the way is full
            last = given
            await asyncio.sleep(0.2)
        assert given < 2000
        count = 1
        async for _ in query:
            count += 1

    assert count == 2000


@in_loop
async def test_a_query_never_answered_is_a_timeout() -> None:
    async def silent(_: FindRequest) -> AsyncGenerator[Match]:
        yield Match(numbered(1))
        await asyncio.Event().wait()

    terms = Terms(timeouts=Timeouts(response=0.3, close=0.2))
    with pytest.raises(PeerSilent, match=r"no answer to C-FIND within 0\.3 s"):
        async with (
            asking(silent, terms=terms) as association,
            association.find(STUDY_ROOT_FIND, encoded(studies())) as query,
        ):
            assert len([match async for match in query]) == 1


@in_loop
async def test_a_peer_that_goes_away_in_the_middle_is_told_from_the_end_of_matches() -> None:
    async def one(_: FindRequest) -> AsyncGenerator[Match]:
        yield Match(numbered(1))
        await asyncio.Event().wait()

    acceptor_over = asyncio.Event()

    async def serve_until() -> None:
        async with serve("127.0.0.1", 0, Handlers(find=one), policy()) as acceptor:
            ports.put_nowait(acceptor.port)
            await acceptor_over.wait()

    ports: asyncio.Queue[int] = asyncio.Queue()
    server = asyncio.create_task(serve_until())
    with pytest.raises(DimseError, match="aborted the association"):
        async with (
            associate(local(await ports.get()), "EDGE", FIND) as association,
            association.find(STUDY_ROOT_FIND, encoded(studies())) as query,
        ):
            async for _ in query:
                acceptor_over.set()
    await server


@in_loop
async def test_queries_side_by_side_within_a_window_do_not_mix() -> None:
    async def echoes(request: FindRequest) -> AsyncGenerator[Match]:
        for _ in range(20):
            await asyncio.sleep(0)
            yield Match(request.identifier)

    async with asking(echoes, terms=Terms(window=4)) as association:

        async def ask(number: int) -> None:
            async with association.find(STUDY_ROOT_FIND, numbered(number)) as query:
                assert [match.identifier async for match in query] == [numbered(number)] * 20

        await asyncio.gather(*(ask(number) for number in range(12)))
