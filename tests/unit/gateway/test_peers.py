"""What gateway.yml says about who may send."""

from __future__ import annotations

import pytest

from pacsops.errors import GatewayConfigurationError
from pacsops.gateway.configuration import parse


@pytest.mark.parametrize(
    ("said", "address", "comes"),
    [
        ("10.1.2.0/24", "10.1.2.3", True),
        ("10.1.2.0/24", "10.1.3.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.0/24", "::ffff:10.1.2.3", True),
        ("fd00::/8", "fd00::1", True),
        ("fd00::/8", "10.1.2.3", False),
        ("10.1.2.0/24", "the peer", False),
        ("null", "the peer", True),
    ],
)
def test_a_peer_comes_from_its_address(said: str, address: str, comes: bool) -> None:
    (peer,) = parse(f"peers: [{{aet: CT1, address: '{said}'}}]".replace("'null'", "null")).peers
    assert peer.comes_from(address) is comes


def test_private_classes_are_an_exception() -> None:
    assert not parse("peers: []").private_sop_classes
    assert parse("private_sop_classes: true").private_sop_classes
    with pytest.raises(GatewayConfigurationError, match="private_sop_classes: true or false is wanted"):
        parse("private_sop_classes: sometimes")
