"""Cuts a camera's bytes into JPEG pictures by their own structure.

Boundaries, lengths and headers between the pictures are not read: cameras leave them out or get
them wrong, and a JPEG says itself where it begins and ends (ISO/IEC 10918-1, annex B).
"""

import re

_START = b"\xff\xd8\xff"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither stuffing nor a restart
MOST_BYTES = 64 * 2**20  # of one picture, or of what is none


class JpegStream:
    """Takes bytes as they come and gives whole pictures.

    A picture that breaks off is given as far as it goes: who decodes it finds out.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # how far the picture at the front of the data is understood
        self._is_in_scan = False
        self.n_foreign_bytes = 0  # in a row that belong to no picture

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pictures that these bytes complete."""
        self._data += data
        pictures = []
        while (end := self._end()) is not None:
            pictures.append(self._cut(end))
        if len(self._data) > MOST_BYTES:
            pictures.append(self._cut(len(self._data)))
        return pictures

    def rest(self) -> bytes | None:
        """Return the picture that the stream's end cut off (or that lacks its end marker)."""
        return self._cut(len(self._data)) if self._find_start() and len(self._data) > 4 else None

    def _cut(self, end: int) -> bytes:
        picture = bytes(self._data[:end])
        del self._data[:end]
        self._at, self._is_in_scan = 0, False
        return picture

    def _find_start(self) -> bool:
        """Drop what comes before a picture; returns whether one has begun."""
        if self._data.startswith(_START):
            return True
        start = self._data.find(_START)
        n_foreign = start if start >= 0 else max(0, len(self._data) - len(_START) + 1)
        del self._data[:n_foreign]
        self.n_foreign_bytes = 0 if start >= 0 else self.n_foreign_bytes + n_foreign
        return start >= 0

    def _end(self) -> int | None:
        """Return where the first picture ends, or None while it goes on."""
        if not self._find_start():
            return None
        data = self._data
        self._at = max(self._at, 2)
        while self._at + 4 <= len(data) or (self._is_in_scan or data[self._at : self._at + 2]):
            if self._is_in_scan:
                found = _MARKER_IN_SCAN.search(data, self._at)
                if found is None:
                    self._at = max(self._at, len(data) - 1)
                    return None
                self._at, self._is_in_scan = found.start(), False
            if self._at + 2 > len(data):
                return None
            first, marker = data[self._at : self._at + 2]
            if first != 0xFF or marker == _SOI:
                return self._at  # it breaks off here
            if marker == _EOI:
                return self._at + 2
            if marker == 0xFF:
                self._at += 1
            elif marker in _ALONE:
                self._at += 2
            else:
                if self._at + 4 > len(data):
                    return None
                self._at += 2 + max(2, int.from_bytes(data[self._at + 2 : self._at + 4]))
                self._is_in_scan = marker == _SOS
        return None
