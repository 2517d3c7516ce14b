"""Links between samples that show the same moment: what they say, and the groups they make."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ferfusion.atomic import write_text
from ferfusion.modality import Modality

Kind = Literal["same file", "near-duplicate", "changed copy", "across modalities"]
KINDS: tuple[Kind, ...] = ("same file", "near-duplicate", "changed copy", "across modalities")

_ENOUGH_LINKS = 6  # of a sample in a modality; more of the same group teach nothing


@dataclass(frozen=True)
class Evidence:
    """Why two pictures are taken for the same moment.

    Attributes:
        first: Modality of the first sample's picture.
        second: Of the second sample's.
        says: In words: `correlation 0.97 after alignment, mirrored, turned by 8 degrees`.
        correlation: Of the finest structures after alignment; None where none was computed.
        keypoints: How many moved alike.
        hash_distance: How many of 64 bits of the perceptual hashes differ; None if not compared.
    """

    first: Modality
    second: Modality
    says: str
    correlation: float | None = None
    keypoints: int = 0
    hash_distance: int | None = None


@dataclass(frozen=True)
class Link:
    """Two samples that show the same moment; ids in alphabetical order."""

    first: str
    second: str
    kind: Kind
    evidence: tuple[Evidence, ...]


class Groups:
    """Names joined into groups, as they come."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Gives the one name that stands for the whole group."""
        root = name
        while (above := self._above.get(root, root)) != root:
            root = above
        while (above := self._above.get(name, name)) != root:
            self._above[name], name = root, above
        return root

    def join(self, first: str, second: str) -> None:
        """Makes two groups one."""
        a, b = sorted((self.find(first), self.find(second)))
        self._above[b] = a


class LinkCollector:
    """Collects evidence per pair of samples, and which samples it joins."""

    def __init__(self) -> None:
        self.evidence: dict[tuple[str, str], list[tuple[Kind, Evidence]]] = defaultdict(list)
        self._degree: Counter[tuple[str, Modality]] = Counter()
        self.groups = Groups()

    def add(self, first: str, second: str, kind: Kind, evidence: Evidence) -> None:
        """Adds a reason to take two samples for one moment."""
        if first > second:
            first, second = second, first
            evidence = replace(evidence, first=evidence.second, second=evidence.first)
        self.evidence[first, second].append((kind, evidence))
        self.groups.join(first, second)
        self._degree[first, evidence.first] += 1
        self._degree[second, evidence.second] += 1

    def teaches(self, first: str, second: str, modality: Modality) -> bool:
        """Whether looking at a pair may tell anything new."""
        if self.groups.find(first) != self.groups.find(second):
            return True
        enough = [self._degree[i, modality] >= _ENOUGH_LINKS for i in (first, second)]
        return not all(enough)

    def links(self) -> tuple[Link, ...]:
        """Gives a link per pair, sorted by ids."""
        # Of several modalities the plainest kind names the pair.
        return tuple(
            Link(
                first,
                second,
                next(kind for kind in KINDS if kind in {k for k, _ in why}),
                tuple(evidence for _, evidence in why),
            )
            for (first, second), why in sorted(self.evidence.items())
        )


def write_links(links: Sequence[Link], path: Path) -> None:
    """Writes links as JSON."""
    write_text(path, json.dumps([asdict(link) for link in links]))


def read_links(path: Path) -> tuple[Link, ...]:
    """Reads what `write_links` wrote."""
    return tuple(_read_link(entry) for entry in json.loads(path.read_text(encoding="utf-8")))


def _read_link(entry: Mapping[str, Any]) -> Link:
    evidence = tuple(
        Evidence(**{**e, "first": Modality(e["first"]), "second": Modality(e["second"])})
        for e in entry["evidence"]
    )
    return Link(entry["first"], entry["second"], entry["kind"], evidence)
