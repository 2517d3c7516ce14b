"""Which samples hold one photograph and a copy of it: told by their pixels, per modality.

Two ways. A pair whose finest structures agree after alignment is one photograph, wherever the copy
lies. A copy that lost them (blurred, shrunk, noisy, encoded strongly) is known by lying exactly
where its original lies while coarser structures agree. What one modality says without being sure,
another that is there must say too.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import UInt8

from ferfusion.data.cache import Advance
from ferfusion.data.links import Evidence, Kind, LinkCollector
from ferfusion.imaging.candidates import HASH_NEAR, Candidate, find_candidates
from ferfusion.imaging.in_place import InPlace, compare_in_place
from ferfusion.imaging.similarity import Agreement, Look, compare, describe
from ferfusion.modality import Modality

_SIZES = (48, 64, 96, 128)
_SAME = {
    Modality.VISIBLE: (0.950, 0.940, 0.900, 0.880),
    Modality.INFRARED: (0.980, 0.975, 0.950, 0.920),
    Modality.MSX: (0.975, 0.965, 0.930, 0.910),
}
"""Fine correlation from which two pictures are one, at each of the sizes."""

# One modality alone is believed from this share of the way up to 1; below, another that is there
# must say the same. Two blurred heat pictures of one person had 0.95, and nothing fine to tell them
# apart; two visible ones of one drawn person, 0.96.
_SURE = {Modality.VISIBLE: 0.7, Modality.INFRARED: 0.55, Modality.MSX: 0.55}
_LENIENT = 0.04

_IN_PLACE_PX = 64  # smaller pictures have too little left between fine and coarse
_IN_PLACE = {
    Modality.VISIBLE: (0.84, 0.60),
    Modality.INFRARED: (0.97, 0.75),
    Modality.MSX: (0.97, 0.75),
}
_NEARLY_IN_PLACE = {
    Modality.VISIBLE: (0.78, 0.50),
    Modality.INFRARED: (0.96, 0.65),
    Modality.MSX: (0.96, 0.65),
}
"""Coarse correlation, and that of the worst tenth, of a picture that lies in place."""

_SHIFTED = (0.92, 0.80)
"""The same of a visible picture that was shifted; of others it says nothing."""

_STILL, _UNBENT = 0.003, 0.004
"""Shares of the side. Of drawn copies 95 % had 0.0014 and 0.003 or less, others 0.0047 or more."""

_HARDLY_MOVED = 0.04  # mean way of the corners, as a share of the side
_BATCH = 256

Pictures = Mapping[Modality, UInt8[np.ndarray, "samples size size 3"]]


class Belief(IntEnum):
    """How surely two pictures are one."""

    NO = 0
    NEARLY = 1
    SAME = 2
    SURE = 3


@dataclass(frozen=True)
class Verdict:
    """What was seen of two pictures of one modality."""

    belief: Belief
    kind: Kind
    evidence: Evidence
    in_place: bool = False


def find_copies(
    pictures: Pictures,
    ids: Mapping[Modality, Sequence[str]],
    found: LinkCollector,
    advance: Advance | None = None,
) -> None:
    """Links samples whose pictures are the same photograph.

    Args:
        pictures: A row a sample, per modality.
        ids: Of the samples, in the order of the rows.
        found: Where links are added.
        advance: Told of progress.
    """
    seen: dict[tuple[str, str], dict[Modality, Verdict]] = defaultdict(dict)
    done, total = 0, 3 * sum(map(len, ids.values()))
    for modality, names in ids.items():
        base = done

        def tell(more: int, base: int = base) -> None:
            if advance is not None:
                advance(base + more, total)

        _search(pictures[modality], names, modality, found, seen, tell)
        done += 3 * len(names)
    _weigh(pictures, ids, seen, found)


def _search(
    pictures: UInt8[np.ndarray, "samples size size 3"],
    ids: Sequence[str],
    modality: Modality,
    found: LinkCollector,
    seen: dict[tuple[str, str], dict[Modality, Verdict]],
    advance: Callable[[int], None],
) -> None:
    """Looks at all likely pairs of one modality; what is sure is linked at once."""
    n = len(ids)
    # OpenCV lets go of the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks: list[Look] = []
        for look in pool.map(describe, pictures):
            looks.append(look)
            advance(len(looks))
        candidates = find_candidates(looks)
        for start in range(0, len(candidates), _BATCH):
            batch = [
                candidate
                for candidate in candidates[start : start + _BATCH]
                if found.teaches(ids[candidate.first], ids[candidate.second], modality)
            ]
            verdicts = pool.map(lambda candidate: _judge(looks, candidate, modality), batch)
            for candidate, verdict in zip(batch, verdicts, strict=True):
                pair = (ids[candidate.first], ids[candidate.second])
                if verdict.belief is Belief.SURE:
                    found.add(*pair, verdict.kind, verdict.evidence)
                elif verdict.belief > Belief.NO:
                    of_pair = seen[min(pair), max(pair)]
                    if modality not in of_pair or verdict.belief > of_pair[modality].belief:
                        of_pair[modality] = verdict
            advance(n + round(2 * n * min(1.0, (start + _BATCH) / len(candidates))))
    advance(3 * n)


def _weigh(
    pictures: Pictures,
    ids: Mapping[Modality, Sequence[str]],
    seen: Mapping[tuple[str, str], Mapping[Modality, Verdict]],
    found: LinkCollector,
) -> None:
    """Links what is not sure by itself, if another modality says so or none is there to.

    Two heat pictures of one person, both shrunk, may look like one: their visible pictures don't.
    So where both samples have several modalities, two must say so. Lying in place, two that nearly
    say so are enough.
    """
    row_of = {m: {sample_id: row for row, sample_id in enumerate(ids[m])} for m in ids}
    for pair, of_pair in seen.items():
        verdicts = dict(of_pair)
        if pair in found.evidence:
            told = {evidence.first for _, evidence in found.evidence[pair]}
            for m, verdict in of_pair.items():
                if m not in told and verdict.belief >= Belief.SAME:
                    found.add(*pair, verdict.kind, verdict.evidence)
            continue
        for m in ids:
            if m not in verdicts and all(i in row_of[m] for i in pair):
                first, second = (pictures[m][row_of[m][i]] for i in pair)
                verdicts[m] = _judge_both_ways(first, second, m)
        agreeing = [v for v in verdicts.values() if v.belief > Belief.NO]
        n_same = sum(v.belief >= Belief.SAME for v in agreeing)
        # Fine structures that nearly agree prove nothing: photographs of one person may.
        lying = sum(v.in_place for v in agreeing)
        if n_same >= min(2, len(verdicts)) or lying > 1:
            for verdict in agreeing:
                found.add(*pair, verdict.kind, verdict.evidence)


def _judge_both_ways(
    first: UInt8[np.ndarray, "size size 3"], second: UInt8[np.ndarray, "size size 3"], m: Modality
) -> Verdict:
    looks = (describe(first), describe(second))
    both = (_judge(looks, Candidate(0, 1, mirrored, 0, 0.0), m) for mirrored in (False, True))
    return max(both, key=lambda verdict: verdict.belief)


def _judge(looks: Sequence[Look], candidate: Candidate, modality: Modality) -> Verdict:
    first, second = looks[candidate.first], looks[candidate.second]
    least = float(np.interp(first.size_px, _SIZES, _SAME[modality]))
    agreement = compare(first, second, mirrored=candidate.mirrored)
    if agreement is not None and agreement.fine >= least:
        belief = (
            Belief.SURE if agreement.fine >= least + _SURE[modality] * (1 - least) else Belief.SAME
        )
        return _describe_copy(belief, modality, candidate, agreement)
    worth = agreement is not None or candidate.hash_distance <= HASH_NEAR
    if worth and first.size_px >= _IN_PLACE_PX:
        lying = compare_in_place(first, second, mirrored=candidate.mirrored)
        if lying is not None and (belief := _believe(lying, modality)) > Belief.NO:
            return _describe_in_place(belief, modality, candidate, lying)
    is_near = agreement is not None and agreement.fine >= least - _LENIENT
    if agreement is not None and is_near:
        return _describe_copy(Belief.NEARLY, modality, candidate, agreement)
    return Verdict(Belief.NO, "changed copy", Evidence(modality, modality, "other photographs"))


def _believe(lying: InPlace, modality: Modality) -> Belief:
    def reaches(least: tuple[float, float]) -> bool:
        return lying.coarse >= least[0] and lying.worst_tenth >= least[1]

    if lying.bent > _UNBENT:
        return Belief.NO
    if lying.shifted > _STILL:
        can_say = modality is Modality.VISIBLE and reaches(_SHIFTED)
        return Belief.SAME if can_say else Belief.NO
    if reaches(_IN_PLACE[modality]):
        return Belief.SAME
    return Belief.NEARLY if reaches(_NEARLY_IN_PLACE[modality]) else Belief.NO


def _describe_in_place(
    belief: Belief, modality: Modality, candidate: Candidate, lying: InPlace
) -> Verdict:
    changes = ["mirrored"] if lying.mirrored else []
    if lying.shifted > _STILL:
        changes.append(f"shifted by {100 * lying.shifted:.0f} % of the side")
    where = ", ".join(changes) if changes else "in the same place"
    evidence = Evidence(
        modality,
        modality,
        f"correlation {lying.coarse:.2f} of coarser structures, {where}; the finest are lost",
        round(lying.coarse, 4),
        hash_distance=candidate.hash_distance,
    )
    return Verdict(belief, "changed copy" if changes else "near-duplicate", evidence, True)


def _describe_copy(
    belief: Belief, modality: Modality, candidate: Candidate, agreement: Agreement
) -> Verdict:
    changes = []
    if agreement.mirrored:
        changes.append("mirrored")
    if abs(agreement.turned_deg) >= 2:
        changes.append(f"turned by {abs(agreement.turned_deg):.0f} degrees")
    if not 0.95 < agreement.zoom < 1.05:
        changes.append(f"content {agreement.zoom:.2f} times as large")
    is_near = not agreement.mirrored and agreement.moved < _HARDLY_MOVED
    if not changes and not is_near:
        changes.append("moved, cropped or bent")
    says = ", ".join((f"correlation {agreement.fine:.2f} after alignment", *changes))
    evidence = Evidence(
        modality,
        modality,
        says,
        round(agreement.fine, 4),
        agreement.keypoints,
        candidate.hash_distance,
    )
    return Verdict(belief, "near-duplicate" if is_near else "changed copy", evidence)
