"""The segments of a JPEG file, where thermal cameras keep what the picture doesn't show."""

import re
from dataclasses import dataclass

SCAN = 0xDA
"""Marks the picture itself, after which there is no more about it."""

_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
# In the picture itself: neither a byte that was 0xFF, nor a restart.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_END, _NO_LENGTH = 0xD9, (0x01, 0xD8)
# A photo of 12 megapixels inside a FLIR file takes about 100.
_MAX_SEGMENTS = 4096


@dataclass(frozen=True)
class Segment:
    """One segment: its marker, 0xE1 for APP1, and where its content lies in the file."""

    marker: int
    start: int
    end: int


def is_jpeg(data: bytes) -> bool:
    """Says whether a file begins as a JPEG does."""
    return data[:3] == b"\xff\xd8\xff"


def list_segments(data: bytes) -> tuple[tuple[Segment, ...], int | None]:
    """Lists what lies between the beginning of a JPEG and its end.

    Returns:
        The segments in order, as far as they are sound and no more than any camera writes; and
        where the bytes after the picture begin, None if its end wasn't reached.
    """
    segments: list[Segment] = []
    at = 2
    while len(segments) < _MAX_SEGMENTS:
        if segments and segments[-1].marker == SCAN:
            following = _NEXT_MARKER.search(data, at)
            at = following.start() if following else len(data)
        found = _MARKER.match(data, at)
        if not found:
            break
        marker, at = found[1][0], found.end()
        if marker == _END:
            return tuple(segments), at
        if marker in _NO_LENGTH:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            break
        segments.append(Segment(marker, at + 2, at + length))
        at += length
    return tuple(segments), None
