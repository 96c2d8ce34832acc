"""Parcels on disk."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from parcels.domain import Event, Parcel, Status, make_code, move

_SCHEMA = """
CREATE TABLE IF NOT EXISTS parcel (
    serial INTEGER PRIMARY KEY AUTOINCREMENT,
    code TEXT UNIQUE,
    recipient TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY,
    code TEXT NOT NULL REFERENCES parcel (code),
    status TEXT NOT NULL,
    place TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_code ON event (code);
"""


class UnknownParcelError(Exception):
    """There is no parcel with that code."""


class Store:
    """Keeps parcels in one SQLite file. May be shared by threads."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self._lock = Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def register(self, recipient: str, place: str, at: datetime) -> Parcel:
        """Add a new parcel, with a code of its own."""
        with self._lock, self._db as db, closing(db.cursor()) as cursor:
            cursor.execute("INSERT INTO parcel (recipient) VALUES (?)", (recipient,))
            serial = cursor.lastrowid
            assert serial is not None  # noqa: S101  SQLite sets it after every INSERT
            code = make_code(serial)
            cursor.execute("UPDATE parcel SET code = ? WHERE serial = ?", (code, serial))
            event = Event(Status.REGISTERED, place, at)
            self._insert(cursor, code, event)
        return Parcel(code, recipient, (event,))

    def find(self, code: str) -> Parcel:
        """Return the parcel with that code, or raise `UnknownParcelError`."""
        with self._lock, closing(self._db.cursor()) as cursor:
            return self._find(cursor, code)

    def record(self, code: str, event: Event) -> Parcel:
        """Add an event to a parcel and return what it is now."""
        with self._lock, self._db as db, closing(db.cursor()) as cursor:
            parcel = move(self._find(cursor, code), event)
            self._insert(cursor, code, event)
        return parcel

    def count(self) -> dict[Status, int]:
        """Return how many parcels there are in each status that has any."""
        with self._lock, closing(self._db.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT status, count(*) FROM event"
                " WHERE id IN (SELECT max(id) FROM event GROUP BY code) GROUP BY status"
            )
            return {Status(status): number for status, number in rows}

    @staticmethod
    def _find(cursor: sqlite3.Cursor, code: str) -> Parcel:
        row = cursor.execute("SELECT recipient FROM parcel WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise UnknownParcelError(f"there is no parcel {code}")
        events = cursor.execute(
            "SELECT status, place, at FROM event WHERE code = ? ORDER BY id", (code,)
        )
        return Parcel(
            code,
            row[0],
            tuple(Event(Status(s), place, datetime.fromisoformat(at)) for s, place, at in events),
        )

    @staticmethod
    def _insert(cursor: sqlite3.Cursor, code: str, event: Event) -> None:
        cursor.execute(
            "INSERT INTO event (code, status, place, at) VALUES (?, ?, ?, ?)",
            (code, event.status, event.place, event.at.isoformat()),
        )
