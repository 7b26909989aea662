"""Reading logs: the newest lines that somebody wants, then those that come."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from pacsops.errors import PacsopsError
from pacsops.services.entries import Entry, Line, understood
from pacsops.services.host import Host, LogFormat, Service
from pacsops.services.sources import Source, sources_of

Wanted = Callable[[Entry], bool]

_WAKE_SECONDS = 0.5  # how long a Ctrl-C may wait
_FAR = datetime.max.replace(tzinfo=UTC)


class LogReader:
    """The logs of some services of this host as one."""

    def __init__(self, host: Host, services: Sequence[Service]) -> None:
        self._sources: list[Source] = sources_of(host, services)
        self._formats: Mapping[str, LogFormat] = {service.name: service.log for service in services}
        self._heads: dict[str, Entry] = {}

    def recent(self, *, since: datetime | None, most: int, wanted: Wanted | None) -> list[Entry]:
        """The newest `most` entries that are wanted, the oldest first. `wanted` None: all are.

        Raises:
            NeedsRoot, RuntimeRefused
        """
        at_most = most if wanted is None else None
        streams = [self._backwards(source.newest_first(since, at_most), since) for source in self._sources]
        # Each is in the order of time, the newest first, as far as its clock never went back.
        merged = heapq.merge(*streams, key=lambda entry: entry.at or _FAR, reverse=True)
        chosen = list(islice((entry for entry in merged if wanted is None or wanted(entry)), most))
        for stream in streams:
            stream.close()
        return chosen[::-1]

    def following(self, wanted: Wanted | None) -> Iterator[Entry]:
        """What comes after `recent`, as it comes, until the iterator is closed.

        Raises:
            NeedsRoot, RuntimeRefused
        """
        arrived: queue.SimpleQueue[Line | PacsopsError] = queue.SimpleQueue()
        for source in self._sources:
            threading.Thread(target=_pour, args=(source, arrived), daemon=True).start()
        try:
            while True:
                with suppress(queue.Empty):
                    found = arrived.get(timeout=_WAKE_SECONDS)
                    if isinstance(found, PacsopsError):
                        raise found
                    entry = self._forwards(found)
                    if wanted is None or wanted(entry):
                        yield entry
        finally:
            for source in self._sources:
                source.stop()

    def _forwards(self, line: Line) -> Entry:
        entry, alone = understood(line, self._formats.get(line.service, "text"))
        head = self._heads.get(line.service)
        if alone:
            self._heads[line.service] = entry
            return entry
        return entry.after(head) if head is not None else entry

    def _backwards(self, lines: Iterable[Line], since: datetime | None) -> Generator[Entry]:
        """Entries of lines that come the newest first: a continuation is met before what it belongs to."""
        held: dict[str, list[Entry]] = {}
        for line in lines:
            entry, alone = understood(line, self._formats.get(line.service, "text"))
            if not alone:
                held.setdefault(line.service, []).append(entry)
                continue
            if since is not None and entry.at is not None and entry.at < since:
                held.pop(line.service, None)
                return
            self._heads.setdefault(line.service, entry)
            yield from (continued.after(entry) for continued in held.pop(line.service, []))
            yield entry
        for entries in held.values():
            yield from entries


def _pour(source: Source, into: queue.SimpleQueue[Line | PacsopsError]) -> None:
    try:
        for line in source.following():
            into.put(line)
    except PacsopsError as error:
        into.put(error)
