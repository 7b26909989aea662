"""The site of the scenario that molecule verifies."""

from __future__ import annotations

import os

import pytest
from tests.support.deployed import Site, SiteHost, site_of

SITE = site_of(os.environ["MOLECULE_SCENARIO_NAME"])


@pytest.fixture
def site() -> Site:
    """The site as a whole."""
    assert SITE.secrets, "a deployed site has passwords"
    return SITE


@pytest.fixture(params=SITE.hosts, ids=lambda host: host.name)
def host(request: pytest.FixtureRequest) -> SiteHost:
    """Each host of the site."""
    found: SiteHost = request.param
    return found
