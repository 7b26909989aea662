"""What gateway.yml says about where images go."""

from __future__ import annotations

import pytest

from pacsops.delivery.model import Method
from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import parse

PACS = "destinations: {{PACS: {{host: pacs, port: 104, aet: PACS{more}}}}}"


@pytest.mark.parametrize(
    ("more", "method"), [("", Method.NONE), (", verify: none", Method.NONE), (", verify: find", Method.FIND)]
)
def test_a_destination_is_asked_for_what_it_took_where_it_is_said(more: str, method: Method) -> None:
    assert parse(PACS.format(more=more)).destinations["PACS"].verify is method


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("storage_commitment", "find or none is wanted, not 'storage_commitment': the gateway asks by C-FIND alone"),
        ("maybe", "find or none is wanted, not 'maybe'"),
        ("true", "find or none is wanted, not True"),
        ("[find]", r"find or none is wanted, not \['find'\]"),
    ],
)
def test_how_no_gateway_can_ask_is_refused_by_name(said: str, why: str) -> None:
    with pytest.raises(GatewayConfigurationError, match=f"destinations.PACS.verify: {why}"):
        parse(PACS.format(more=f", verify: {said}"))
