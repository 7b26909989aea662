"""Samples as Prometheus and Graphite read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pacsops.observe import measured
from pacsops.observe.metrics import Metric, Sample, graphite, prometheus

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NUMBERS = st.one_of(st.integers(0, 2**53), st.floats(0, 1e15))


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@given(route=NAMES, destination=NAMES, value=NUMBERS)
@example(route='a "route" \\n\n', destination="\\", value=0.1)
@example(route="} 1\northanc_up 0", destination=" # HELP", value=1)
def test_prometheus_reads_what_was_meant_whatever_the_names_are(route: str, destination: str, value: float) -> None:
    labels = {"route": route, "destination": destination}

    read_back = read(prometheus([Sample(measured.ROUTE_OVERDUE, value, labels)]))

    ((name, said),) = read_back
    assert (name, dict(said)) == ("orthanc_route_overdue_deliveries", labels)
    assert read_back[name, said] == pytest.approx(value, rel=1e-14)


@given(route=NAMES, destination=NAMES, value=NUMBERS)
def test_a_name_cannot_change_the_structure_of_a_graphite_line(route: str, destination: str, value: float) -> None:
    line = graphite(
        [Sample(measured.ROUTE_OVERDUE, value, {"route": route, "destination": destination})],
        prefix="orthanc.prod",
        at=1700000000,
    )

    path, said, at = line.removesuffix("\n").split(" ")
    assert re.fullmatch(r"orthanc\.prod\.overdue\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.deliveries", path)
    assert float(said) == pytest.approx(value, rel=1e-14)
    assert at == "1700000000"


def test_a_family_has_its_help_and_type_once_and_its_samples_together() -> None:
    text = prometheus(
        [
            Sample(measured.SENT, 3, {"destination": "A"}),
            Sample(measured.RECEIVED, 5),
            Sample(measured.SENT, 4, {"destination": "B"}),
        ]
    )

    assert text == (
        "# HELP orthanc_routing_sent_total Attempts to send a delivery that were begun\n"
        "# TYPE orthanc_routing_sent_total counter\n"
        'orthanc_routing_sent_total{destination="A"} 3\n'
        'orthanc_routing_sent_total{destination="B"} 4\n'
        "# HELP orthanc_routing_received_total Studies received\n"
        "# TYPE orthanc_routing_received_total counter\n"
        "orthanc_routing_received_total 5\n"
    )


def test_latency_is_one_summary_in_seconds_and_in_graphite_milliseconds() -> None:
    pacs = {"destination": "PACS"}
    samples = [
        Sample(measured.LATENCY[0.5], 1.5, pacs),
        Sample(measured.LATENCY[0.95], 20.25, pacs),
        Sample(measured.LATENCY_SUM, 0.003, pacs),
        Sample(measured.LATENCY_COUNT, 7, pacs),
    ]

    (family,) = text_string_to_metric_families(prometheus(samples))
    assert (family.name, family.type) == ("orthanc_routing_latency_seconds", "summary")
    assert [(sample.labels.get("quantile"), sample.value) for sample in family.samples] == [
        ("0.5", 1.5),
        ("0.95", 20.25),
        (None, 0.003),
        (None, 7),
    ]
    assert graphite(samples, prefix="orthanc", at=9).splitlines() == [
        "orthanc.routing.PACS.latency_ms.p50 1500 9",
        "orthanc.routing.PACS.latency_ms.p95 20250 9",
        "orthanc.routing.PACS.latency_ms.sum 3 9",
        "orthanc.routing.PACS.latency_ms.count 7 9",
    ]


def test_sizes_are_bytes_and_in_graphite_gigabytes() -> None:
    sample = Sample(measured.STORAGE_FREE, 550_000_000_000)

    assert "orthanc_storage_free_bytes 550000000000\n" in prometheus([sample])
    assert graphite([sample], prefix="orthanc", at=9) == "orthanc.storage.free_gb 550 9\n"


def test_nothing_is_said_of_nothing() -> None:
    assert prometheus([]) == graphite([], prefix="orthanc", at=9) == ""


@pytest.mark.parametrize("metric", measured.ALL, ids=lambda metric: metric.graphite)
def test_a_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    assert re.fullmatch(r"orthanc_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert set(re.findall(r"{(\w+)}", metric.graphite)) == set(metric.labels)
    assert metric.help
    assert not metric.help.endswith(".")


def test_no_two_metrics_are_the_same_in_graphite() -> None:
    paths = [metric.graphite for metric in measured.ALL]

    assert len(set(paths)) == len(paths)
