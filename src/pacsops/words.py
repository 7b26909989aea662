"""Times, durations, sizes and counts in words, as every page and message says them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def moment(at: datetime) -> str:
    """Local time; the date only when it is not today."""
    local = at.astimezone()
    return f"{local:%H:%M}" if local.date() == datetime.now().astimezone().date() else f"{local:%Y-%m-%d %H:%M}"


def timestamp(at: datetime) -> str:
    """Local date and time to the second."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def lasting(seconds: float) -> str:
    """A duration in its largest fitting unit: 45s, 5m, 3h, 2d."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, round(seconds))}s"


def ago(at: datetime) -> str:
    return f"{lasting((now() - at).total_seconds())} ago"


def soon(at: datetime, now: datetime) -> str:
    """When something is due: `now`, or `in 2m`."""
    seconds = (at - now).total_seconds()
    return "now" if seconds <= 1 else f"in {lasting(seconds)}"


def size(octets: int) -> str:
    """Octets in decimal units, as disks are sold: 450 GB."""
    value = float(octets)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 study`, `1,204 studies`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def studies(number: int) -> str:
    return count(number, "study", "studies")


def deliveries(number: int) -> str:
    return count(number, "delivery", "deliveries")
