"""Reads the messages that a client sends to PostgreSQL, far enough to see the COMMIT of a transaction that stores events."""

import re
import struct

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_COMMIT = re.compile(rb"(?:^|;)\s*COMMIT\b", re.IGNORECASE)
_BEGIN = re.compile(rb"^\s*(?:BEGIN|START TRANSACTION|ROLLBACK)\b", re.IGNORECASE)


class CommitWatch:
    """Follows one connection and reports the COMMIT of a transaction that ran a statement which matches `mark`.

    A node's beats and takings commit too. Only the mark leads to the transaction that a sender waits for.
    """

    def __init__(self, mark: str) -> None:
        self._mark = re.compile(mark.encode(), re.IGNORECASE)
        self._pending = bytearray()
        self._is_started = False
        self._is_marked = False
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes of the client. Returns whether a marked COMMIT ends in them."""
        self._pending += data
        found = False
        while (message := self._next()) is not None:
            found |= self._see(*message)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        pending = self._pending
        head = 5 if self._is_started else 4
        if len(pending) < head:
            return None
        length = struct.unpack_from("!i", pending, head - 4)[0]
        end = head - 4 + length
        if len(pending) < end:
            return None
        kind, body = (pending[0] if self._is_started else 0), bytes(pending[head:end])
        del pending[:end]
        if not self._is_started:
            # Requests for encryption come before the start message and have the same form.
            self._is_started = struct.unpack("!i", body[:4])[0] not in (_SSL_REQUEST, _GSS_REQUEST)
        return kind, body

    def _see(self, kind: int, body: bytes) -> bool:
        if kind == ord("Q"):
            return self._execute(body.rstrip(b"\0"))
        if kind == ord("P"):
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = text
        elif kind == ord("B"):
            portal, name, _ = body.split(b"\0", 2)
            self._portals[portal] = self._statements.get(name, b"")
        elif kind == ord("E"):
            return self._execute(self._portals.get(body.split(b"\0", 1)[0], b""))
        return False

    def _execute(self, text: bytes) -> bool:
        if _BEGIN.search(text):
            self._is_marked = False
        self._is_marked |= bool(self._mark.search(text))
        if not _COMMIT.search(text):
            return False
        found, self._is_marked = self._is_marked, False
        return found
