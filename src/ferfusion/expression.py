"""The words for expressions: one spelling each, and the label sets of the published data."""

import difflib
from collections.abc import Iterable

VIRI: tuple[str, ...] = ("angry", "happy", "neutral", "sad", "surprised")
"""VIRI's five classes in the paper's order (Naseem et al. 2024, section III-A)."""

NVIE: tuple[str, ...] = ("happy", "fear", "disgust")
"""The three spontaneous NVIE classes that the paper uses."""

NVIE_RATED: tuple[str, ...] = ("happy", "sad", "surprised", "fear", "angry", "disgust")
"""The six expressions that NVIE's raters judge; the order is ours."""

_SYNONYMS = {
    "anger": "angry",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "disgusted": "disgust",
    "disgusting": "disgust",
}


def canonical_expression(name: str) -> str:
    """Gives the one spelling we use for an expression.

    >>> canonical_expression(" Surprise ")
    'surprised'
    """
    lowered = name.strip().lower()
    return _SYNONYMS.get(lowered, lowered)


def order_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Puts class names into the order that predictions and matrices use.

    Names that all belong to a published label set keep that set's order (and only those that
    occur); any other set is sorted.

    >>> order_labels(["sad", "angry", "happy"])
    ('angry', 'happy', 'sad')
    >>> order_labels(["disgust", "fear"])
    ('fear', 'disgust')
    """
    present = {canonical_expression(name) for name in names}
    for published in (VIRI, NVIE):
        if present <= set(published):
            return tuple(label for label in published if label in present)
    return tuple(sorted(present))


def find_misspelt(labels: Iterable[str]) -> dict[str, str]:
    """Gives class names that look like a slip, and the expression that may be meant.

    A class of its own is made of each name that isn't known, so a slip would make one too many.

    >>> find_misspelt(["happy", "hapy", "suprised", "contempt", "pain"])
    {'hapy': 'happy', 'suprised': 'surprised'}
    """
    known = [*VIRI, *NVIE, *_SYNONYMS, "contempt"]
    near = {
        label: difflib.get_close_matches(label, known, n=1, cutoff=0.8)
        for label in labels
        if label not in known
    }
    return {label: canonical_expression(found[0]) for label, found in near.items() if found}
