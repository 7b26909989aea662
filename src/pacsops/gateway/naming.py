"""What routes of the gateway may name, on whatever host somebody asks."""

from __future__ import annotations

from collections.abc import Callable

from pacsops.delivery.heartbeat import Beat
from pacsops.gateway.configuration import Configuration, load
from pacsops.settings import Settings


def configuration_here(settings: Settings) -> Configuration | None:
    """What this host's gateway.yml says; None: it has none.

    Raises:
        GatewayConfigurationError: it says what cannot be.
    """
    return load(settings.gateway_file) if settings.gateway_file.exists() else None


def names_of(beat: Beat | None) -> frozenset[str] | None:
    """As the gateway that gave this sign of life had it; None: there never was one."""
    return None if beat is None else frozenset([*beat.detail.get("destinations", {}), *beat.detail.get("pools", {})])


def known_names(settings: Settings, beat: Callable[[], Beat | None]) -> frozenset[str] | None:
    """Names of destinations and pools, from this host's gateway.yml, else from the gateway itself; None: not known.

    Raises:
        GatewayConfigurationError: this host's says what cannot be.
        DatabaseUnreachable, SchemaMismatch: this host has none, and the gateway cannot be asked for.
    """
    configuration = configuration_here(settings)
    return configuration.names if configuration is not None else names_of(beat())
