"""The one face of a video, looked for now and then and followed in between."""

from collections.abc import Callable

from ferfusion.imaging.faces.choosing import Choice
from ferfusion.imaging.faces.detector import Face

EVERY = 5
"""Frames from one look to the next."""

_SHARE = 0.5
"""How much of its way to where it was last found the face goes in each frame."""
_MOST_MISSES = 2
_SAME_FACE = 0.3
"""Boxes that have less in common are of another person, or of one who jumped."""


class FaceFollower:
    """Smooths a face over the frames of a video, so that the crop doesn't tremble.

    Every few frames the face is looked for; in each frame its box and points go half of the rest
    of their way to where it was found last. One look without a face changes nothing, as a blink of
    the detector; after two in a row there is none.
    """

    def __init__(self, every: int = EVERY) -> None:
        """Begins without a face.

        Args:
            every: From one look to the next, in frames.
        """
        self._every = every
        self._turn = 0
        self._misses = 0
        self._goal: Face | None = None
        self._held: Face | None = None
        self._reason: str | None = None

    def follow(self, look: Callable[[], Choice]) -> Choice:
        """Gives the face of the next frame, or why there is none.

        Args:
            look: Looks for the face in this frame; called when it is time to.
        """
        if self._turn % self._every == 0:
            self._take(look())
        self._turn += 1
        if self._held is None or self._goal is None:
            return Choice(None, self._reason)
        self._held = self._held.mixed(self._goal, _SHARE)
        return Choice(self._held, None)

    def _take(self, found: Choice) -> None:
        if found.face is None:
            self._misses += 1
            if self._misses >= _MOST_MISSES or self._held is None:
                self._held, self._goal, self._reason = None, None, found.reason
            return
        self._misses = 0
        self._goal = found.face
        if self._held is None or self._held.overlap(found.face) < _SAME_FACE:
            self._held = found.face
