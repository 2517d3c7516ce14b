"""How far a found motion can be trusted: one number that rises with the truth."""

import math

# Fitted by experiments/registration.py on half of the people (results/registration).
_OFFSET = -25.44
_BY_AGREEMENT = 4.58
_BY_LEAD = 16.17
_BY_ERROR = -2.48

PASSING_QUALITY = 0.8
"""A pair at least this good passes; how many pass wrongly: results/registration."""


def describe(agreement: float, lead: float, expected_error: float) -> tuple[float, float, float]:
    """Gives the three facts as `rate_quality` weighs them, each about as wide as the others.

    Args:
        agreement: Of the edges, laid on each other: 1 is fully.
        lead: Of the best motion over the best one elsewhere, in parts of its agreement.
        expected_error: In parts of the picture's width.
    """
    return (
        math.sqrt(min(max(agreement, 0.0), 1.0)),
        math.sqrt(min(max(lead, 0.0), 0.5)),
        math.log(min(max(expected_error, 1e-5), 1.0)),
    )


def rate_quality(agreement: float, lead: float, expected_error: float) -> float:
    """Gives how likely points lie within 0.6 % of the width of where they belong, 0 to 1.

    That is 3 pixels of 500. The likelihood is that of pairs like those it was fitted on, of which
    some were no pairs at all; the order of qualities means more than their size.
    """
    if agreement <= 0:
        return 0.0
    facts = describe(agreement, lead, expected_error)
    weights = (_BY_AGREEMENT, _BY_LEAD, _BY_ERROR)
    odds = _OFFSET + sum(w * f for w, f in zip(weights, facts, strict=True))
    return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))
