"""Probabilities of a video smoothed over time, so that labels don't flicker."""

import math

import numpy as np
from jaxtyping import Float

SMOOTH_S = 0.3
"""About as long as an expression takes to appear."""


class Smoother:
    """An exponential mean over time: what was seen `seconds` ago counts 37 %.

    It goes by times, not by counts: a dropped frame or another rate changes little. After a pause,
    the old has faded by itself.
    """

    def __init__(self, seconds: float) -> None:
        """Begins with nothing.

        Args:
            seconds: 0 gives everything back as it is.
        """
        self._seconds = seconds
        self._mean: Float[np.ndarray, " classes"] | None = None
        self._last_s = 0.0

    def add(
        self, probs: Float[np.ndarray, " classes"], time_s: float
    ) -> Float[np.ndarray, " classes"]:
        """Takes the probabilities of a frame and gives the mean.

        Args:
            probs: They sum to 1, and so will the mean.
            time_s: Of the frame; not before the last one.
        """
        if self._mean is None or self._seconds == 0:
            self._mean = probs
        else:
            kept = math.exp(-max(0.0, time_s - self._last_s) / self._seconds)
            self._mean = kept * self._mean + (1 - kept) * probs
        self._last_s = time_s
        return self._mean
