"""PDUs as pynetdicom writes and reads them, and as nobody should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pynetdicom import build_context, pdu_primitives
from pynetdicom import pdu as oracle

from pacsops.dimse.errors import ProtocolViolation
from pacsops.dimse.items import (
    ExtendedNegotiation,
    OperationsWindow,
    Role,
    UnknownItem,
    UserIdentity,
    UserInformation,
)
from pacsops.dimse.pdu import (
    HEADER,
    Abort,
    AnsweredContext,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ControlPdu,
    PduType,
    ProposedContext,
    ReleaseRequest,
    ReleaseResponse,
    ae_title,
    decode,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

REQUEST = AssociateRequest(
    called_aet="MODLINK",
    calling_aet="EDGE 1",
    contexts=(ProposedContext(1, CT, (EXPLICIT, IMPLICIT)), ProposedContext(3, FIND, (IMPLICIT,))),
    user=UserInformation(
        maximum_length=16384,
        implementation_class_uid="1.2.3.4",
        implementation_version="VERSION_1",
        window=OperationsWindow(8, 1),
        roles=(Role(CT, True, False),),
        extended=(ExtendedNegotiation(FIND, b"\1\0\1"),),
        identity=UserIdentity(2, b"operator", b"secret", True),
    ),
)
ACCEPTANCE = AssociateAccept(
    called_aet="MODLINK",
    calling_aet="EDGE 1",
    contexts=(AnsweredContext(1, 0, EXPLICIT), AnsweredContext(3, 3, IMPLICIT)),
    user=UserInformation(
        maximum_length=0,
        implementation_class_uid="1.2.3.4",
        implementation_version="VERSION_1",
        window=OperationsWindow(4, 1),
        roles=(Role(CT, True, False),),
        identity_response=b"ticket",
    ),
)
SMALL: tuple[ControlPdu, ...] = (
    AssociateReject(1, 1, 7),
    AssociateReject(2, 3, 2),
    ReleaseRequest(),
    ReleaseResponse(),
    Abort(2, 6),
    Abort(0, 0),
)


def read(encoded: bytes) -> ControlPdu:
    kind, length = HEADER.unpack_from(encoded)
    assert length == len(encoded) - HEADER.size
    return decode(kind, memoryview(encoded)[HEADER.size :])


def user_information(user: UserInformation) -> list[Any]:
    """The same as pynetdicom's primitives."""
    maximum = pdu_primitives.MaximumLengthNotification()
    maximum.maximum_length_received = user.maximum_length
    implementation = pdu_primitives.ImplementationClassUIDNotification()
    implementation.implementation_class_uid = user.implementation_class_uid
    version = pdu_primitives.ImplementationVersionNameNotification()
    version.implementation_version_name = user.implementation_version
    said: list[Any] = [maximum, implementation, version]
    if user.window:
        window = pdu_primitives.AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked = user.window.invoked
        window.maximum_number_operations_performed = user.window.performed
        said.append(window)
    for one in user.roles:
        role = pdu_primitives.SCP_SCU_RoleSelectionNegotiation()
        role.sop_class_uid, role.scu_role, role.scp_role = one.abstract_syntax, one.scu, one.scp
        said.append(role)
    for extended in user.extended:
        extension = pdu_primitives.SOPClassExtendedNegotiation()
        extension.sop_class_uid = extended.sop_class_uid
        extension.service_class_application_information = extended.information
        said.append(extension)
    if user.identity:
        identity = pdu_primitives.UserIdentityNegotiation()
        identity.user_identity_type = user.identity.type
        identity.primary_field = user.identity.primary
        identity.secondary_field = user.identity.secondary
        identity.positive_response_requested = user.identity.response_requested
        said.append(identity)
    if user.identity_response is not None:
        response = pdu_primitives.UserIdentityNegotiation()
        response.server_response = user.identity_response
        said.append(response)
    return said


def association(request: AssociateRequest | AssociateAccept) -> pdu_primitives.A_ASSOCIATE:
    primitive = pdu_primitives.A_ASSOCIATE()
    primitive.application_context_name = request.application_context
    primitive.called_ae_title = request.called_aet
    primitive.calling_ae_title = request.calling_aet
    primitive.user_information = user_information(request.user)
    return primitive


def test_a_request_of_pynetdicom_is_understood() -> None:
    primitive = association(REQUEST)
    contexts = [build_context(one.abstract_syntax, list(one.transfer_syntaxes)) for one in REQUEST.contexts]
    for context, one in zip(contexts, REQUEST.contexts, strict=True):
        context.context_id = one.id
    primitive.presentation_context_definition_list = contexts

    assert read(oracle.A_ASSOCIATE_RQ(primitive).encode()) == REQUEST


def test_an_acceptance_of_pynetdicom_is_understood() -> None:
    primitive = association(ACCEPTANCE)
    primitive.result = 0
    contexts = [build_context(CT, answer.transfer_syntax) for answer in ACCEPTANCE.contexts]
    for context, answer in zip(contexts, ACCEPTANCE.contexts, strict=True):
        context.context_id, context.result = answer.id, answer.result
    primitive.presentation_context_definition_results_list = contexts

    assert read(oracle.A_ASSOCIATE_AC(primitive).encode()) == ACCEPTANCE


@pytest.mark.parametrize("pdu", [REQUEST, ACCEPTANCE, *SMALL], ids=lambda pdu: type(pdu).__name__)
def test_pynetdicom_reads_and_writes_the_same_bytes(pdu: ControlPdu) -> None:
    encoded = pdu.encode()
    kinds: dict[int, Any] = {
        1: oracle.A_ASSOCIATE_RQ,
        2: oracle.A_ASSOCIATE_AC,
        3: oracle.A_ASSOCIATE_RJ,
        5: oracle.A_RELEASE_RQ,
        6: oracle.A_RELEASE_RP,
        7: oracle.A_ABORT_RQ,
    }
    theirs = kinds[encoded[0]]()
    theirs.decode(encoded)

    assert theirs.encode() == encoded


@pytest.mark.parametrize("pdu", [REQUEST, ACCEPTANCE, *SMALL], ids=lambda pdu: type(pdu).__name__)
def test_what_is_written_is_read(pdu: ControlPdu) -> None:
    assert read(pdu.encode()) == pdu


def test_an_unknown_sub_item_is_kept_and_disturbs_nothing() -> None:
    encoded = UserInformation(maximum_length=1, unknown=(UnknownItem(0x57, b"common"),)).encode()

    assert UserInformation.decode(encoded).unknown == (UnknownItem(0x57, b"common"),)


def test_unknown_items_between_contexts_are_passed_over() -> None:
    body = REQUEST.encode()[HEADER.size :] + b"\x77\0\0\2xx"

    assert decode(PduType.ASSOCIATE_RQ, body) == REQUEST


def test_padding_of_titles_and_uids_is_no_part_of_them() -> None:
    encoded = REQUEST.encode().replace(b"MODLINK         ", b"MODLINK\0\0\0\0\0\0\0\0\0")

    assert read(encoded) == REQUEST


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(REQUEST)


uids = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
titles = st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True)
words = st.from_regex(r"[A-Za-z0-9_.]{0,16}", fullmatch=True)
information = st.builds(
    UserInformation,
    maximum_length=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=uids,
    implementation_version=words,
    window=st.none() | st.builds(OperationsWindow, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    roles=st.lists(st.builds(Role, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended=st.lists(st.builds(ExtendedNegotiation, uids, st.binary(max_size=20)), max_size=3).map(tuple),
    identity=st.none()
    | st.builds(UserIdentity, st.integers(0, 255), st.binary(max_size=50), st.binary(max_size=50), st.booleans()),
    identity_response=st.none() | st.binary(max_size=50),
    unknown=st.lists(st.builds(UnknownItem, st.integers(0x5A, 0xFF), st.binary(max_size=20)), max_size=3).map(tuple),
)
requests = st.builds(
    AssociateRequest,
    called_aet=titles,
    calling_aet=titles,
    contexts=st.lists(
        st.builds(
            ProposedContext,
            st.integers(0, 127).map(lambda number: 2 * number + 1),
            uids,
            st.lists(uids, max_size=4).map(tuple),
        ),
        max_size=5,
    ).map(tuple),
    user=information,
    protocol_version=st.integers(0, 0xFFFF),
)
acceptances = st.builds(
    AssociateAccept,
    called_aet=titles,
    calling_aet=titles,
    contexts=st.lists(st.builds(AnsweredContext, st.integers(0, 255), st.integers(0, 255), uids), max_size=5).map(
        tuple
    ),
    user=information,
)
bytes_of = st.integers(0, 255)
small = st.one_of(
    st.builds(AssociateReject, bytes_of, bytes_of, bytes_of),
    st.just(ReleaseRequest()),
    st.just(ReleaseResponse()),
    st.builds(Abort, bytes_of, bytes_of),
)


@given(st.one_of(requests, acceptances, small))
def test_every_pdu_survives_the_way_there_and_back(pdu: ControlPdu) -> None:
    assert read(pdu.encode()) == pdu


def decoded_or_refused(kind: int, body: bytes) -> None:
    """Anything but a PDU or a ProtocolViolation fails the test."""
    try:
        decode(kind, body)
    except ProtocolViolation as problem:
        assert problem.reason in (1, 6)


@given(st.integers(0, 255), st.binary(max_size=400))
@example(1, b"")
@example(7, b"\0" * 5)
@example(4, b"")
def test_noise_is_refused(kind: int, body: bytes) -> None:
    decoded_or_refused(kind, body)


@given(
    st.sampled_from([REQUEST, ACCEPTANCE, *SMALL]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    st.integers(0, 4000),
)
def test_damaged_and_truncated_pdus_are_refused(pdu: ControlPdu, damage: list[tuple[int, int]], length: int) -> None:
    encoded = bytearray(pdu.encode())
    for position, value in damage:
        encoded[HEADER.size + position % (len(encoded) - HEADER.size)] = value
    body = bytes(encoded[HEADER.size :])

    decoded_or_refused(encoded[0], body)
    decoded_or_refused(encoded[0], body[: length % (len(body) + 1)])


def test_an_item_longer_than_what_it_stands_in_is_refused() -> None:
    encoded = bytearray(REQUEST.encode())
    position = encoded.index(b"\x51\0\0\4") + 2
    encoded[position : position + 2] = b"\xff\xff"

    with pytest.raises(ProtocolViolation, match="item 51H is longer than what it stands in"):
        read(bytes(encoded))


def test_a_context_with_an_even_number_is_refused() -> None:
    encoded = replace(REQUEST, contexts=(ProposedContext(2, CT, (IMPLICIT,)),)).encode()

    with pytest.raises(ProtocolViolation, match="no odd number"):
        read(encoded)


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN LETTERS", "BACK\\SLASH", "TAB\tBED", "ÜBER"])
def test_no_ae_title(title: str) -> None:
    with pytest.raises(ValueError, match="is no AE title"):
        ae_title(title)


def test_an_ae_title_loses_its_padding() -> None:
    assert ae_title(" MODLINK  ") == "MODLINK"
