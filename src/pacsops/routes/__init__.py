"""The language of routes.yml. Pure: it reads the file, and knows neither PostgreSQL nor Orthanc."""

from pacsops.routes.explain import ConditionExplanation, FieldExplanation, RouteExplanation
from pacsops.routes.loader import load_routes, read_routes
from pacsops.routes.model import (
    MANUAL,
    Backoff,
    InstanceFacts,
    RetryPolicy,
    Route,
    Selection,
    Send,
    Source,
    StudyFacts,
    When,
)
from pacsops.routes.problems import Problem, RoutesInvalid
from pacsops.routes.table import RouteTable, unknown_destinations

__all__ = [
    "MANUAL",
    "Backoff",
    "ConditionExplanation",
    "FieldExplanation",
    "InstanceFacts",
    "Problem",
    "RetryPolicy",
    "Route",
    "RouteExplanation",
    "RouteTable",
    "RoutesInvalid",
    "Selection",
    "Send",
    "Source",
    "StudyFacts",
    "When",
    "load_routes",
    "read_routes",
    "unknown_destinations",
]
