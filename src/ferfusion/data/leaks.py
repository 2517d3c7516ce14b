"""What links between samples mean for a split: what leaks, what belongs together, a clean split."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from ferfusion.data.dataset import Dataset
from ferfusion.data.links import KINDS, Groups, Kind, Link
from ferfusion.data.splits import PARTS, Part, Split, draw_subject_split, shared_subjects
from ferfusion.errors import SplitError

_PLURALS: dict[Kind, str] = {
    "same file": "pairs of samples with the same file",
    "near-duplicate": "pairs of near-duplicate pictures",
    "changed copy": "pairs of a picture and its changed copy (mirrored, turned, zoomed, cropped)",
    "across modalities": "pairs of pictures of one moment in different modalities",
}


@dataclass(frozen=True)
class Leak:
    """A link between two parts of a split.

    Attributes:
        link: What links the samples.
        parts: Part of the first and of the second sample.
    """

    link: Link
    parts: tuple[Part, Part]


@dataclass(frozen=True)
class AuditReport:
    """What leaks in one split.

    Attributes:
        split: Which.
        leaks: Every link that crosses, test against train first.
        subjects: Everybody who is in more than one part, sorted.
        exposed: Per part, how many samples are taken for twins of samples in another part, over
            several links too.
        subjects_in_test: Those of `subjects` who are in test.
    """

    split: Split
    leaks: tuple[Leak, ...]
    subjects: tuple[str, ...]
    exposed: Mapping[Part, int]
    subjects_in_test: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[tuple[Kind, Part, Part], int]:
        """Leaks by kind and pair of parts, in a fixed order."""
        found = Counter((leak.link.kind, frozenset(leak.parts)) for leak in self.leaks)
        pairs: tuple[tuple[Part, Part], ...] = tuple(combinations(PARTS, 2))
        return {
            (kind, a, b): count
            for kind in KINDS
            for a, b in pairs
            if (count := found[kind, frozenset((a, b))])
        }

    @property
    def is_clean(self) -> bool:
        """Whether nothing crosses, neither a picture nor a person."""
        return not self.leaks and not self.subjects

    def sentences(self, *, with_subjects: bool = True) -> tuple[str, ...]:
        """Says what leaks, a sentence each, what it does to test first; nothing if it is clean."""
        said = [self._say_exposed()] if self.leaks else []
        said += [
            f"{_PLURALS[kind]} between {first} and {second}: {count}."
            for (kind, first, second), count in self.counts.items()
        ]
        if self.subjects and with_subjects:
            shown = ", ".join(self.subjects[:5]) + (", ..." if len(self.subjects) > 5 else "")
            in_test = "" if self.subjects_in_test else " None of them is in test."
            said.append(f"Subjects in more than one part: {len(self.subjects)} ({shown}).{in_test}")
        return tuple(sentence[:1].upper() + sentence[1:] for sentence in said)

    def touches_test(self, *, with_subjects: bool = True) -> bool:
        """Whether anything crosses into test, so that its numbers are in doubt."""
        return self.exposed["test"] > 0 or (with_subjects and bool(self.subjects_in_test))

    def _say_exposed(self) -> str:
        if self.exposed["test"]:
            return (
                f"{self.exposed['test']} of {len(self.split.parts['test'])} test samples are taken "
                "for twins of samples outside test."
            )
        return (
            f"No test sample is taken for a twin of another part, but train and val share pictures "
            f"({self.exposed['val']} of {len(self.split.parts['val'])} val samples): choices made "
            "on validation are too sure."
        )


def find_leaks(links: Sequence[Link], split: Split, dataset: Dataset) -> AuditReport:
    """Finds what crosses from one part of a split into another."""
    part_of: dict[str, Part] = {i: part for part in PARTS for i in split.parts[part]}
    leaks = [
        Leak(link, (part_of[link.first], part_of[link.second]))
        for link in links
        if part_of.get(link.first, "") != part_of.get(link.second, "")
        and link.first in part_of
        and link.second in part_of
    ]
    # Train and test is the worst, then train and val, then the rest.
    worst = [{"train", "test"}, {"train", "val"}, {"val", "test"}]
    leaks.sort(key=lambda leak: (worst.index(set(leak.parts)), KINDS.index(leak.link.kind)))
    exposed: dict[Part, int] = dict.fromkeys(PARTS, 0)
    for group in group_links(links):
        held: list[Part] = [part_of[i] for i in group if i in part_of]
        if len(set(held)) > 1:
            for part in held:
                exposed[part] += 1
    subjects = shared_subjects(split, dataset)
    tested = {sample.subject for sample in dataset.samples if part_of.get(sample.id) == "test"}
    in_test = tuple(subject for subject in subjects if subject in tested)
    return AuditReport(split, tuple(leaks), subjects, exposed, in_test)


def group_links(
    links: Sequence[Link], dataset: Dataset | None = None
) -> tuple[tuple[str, ...], ...]:
    """Gives the groups of samples that must stay together, the largest first.

    Args:
        links: What links two samples.
        dataset: Where given, samples of one subject belong together, too.

    Returns:
        Sorted ids of each group of two or more.
    """
    groups, names = Groups(), dict.fromkeys(i for link in links for i in (link.first, link.second))
    for link in links:
        groups.join(f"sample {link.first}", f"sample {link.second}")
    for sample in dataset.samples if dataset is not None else ():
        names.setdefault(sample.id)
        if sample.subject is not None:
            groups.join(f"sample {sample.id}", f"subject {sample.subject}")
    members: dict[str, list[str]] = defaultdict(list)
    for name in names:
        members[groups.find(f"sample {name}")].append(name)
    found = [tuple(sorted(group)) for group in members.values() if len(group) > 1]
    return tuple(sorted(found, key=lambda group: (-len(group), group)))


def find_two_names(links: Sequence[Link], dataset: Dataset) -> tuple[tuple[str, str], ...]:
    """Names pairs of subjects that a link says are one person, sorted."""
    subject_of = {sample.id: sample.subject for sample in dataset.samples}
    pairs = {(subject_of.get(link.first), subject_of.get(link.second)) for link in links}
    return tuple(
        sorted(
            {(min(a, b), max(a, b)) for a, b in pairs if a is not None and b is not None and a != b}
        )
    )


def repair_split(dataset: Dataset, links: Sequence[Link], seed: int) -> Split:
    """Splits so that no link and no subject crosses: whole groups are dealt out.

    The deal is that of `draw_subject_split`, with groups in the place of subjects. A sample that
    names no subject and has no link is a group of its own.

    Raises:
        SplitError: There are fewer than three groups, or a class can't be in train.
    """
    group_of = {
        sample_id: f"group {number}"
        for number, group in enumerate(group_links(links, dataset))
        for sample_id in group
    }
    samples = tuple(
        replace(sample, subject=group_of.get(sample.id, f"sample {sample.id}"))
        for sample in dataset.samples
    )
    grouped = replace(dataset, samples=samples)
    try:
        drawn = draw_subject_split(grouped, seed)
    except SplitError as error:
        raise SplitError(
            f"No clean split of {dataset.root} can be drawn: whatever belongs together (the same "
            f"subject or the same photograph) leaves {len(grouped.subjects)} groups, the largest "
            f"of {max(Counter(s.subject for s in samples).values())} of {len(samples)} samples, "
            "too few for train, val and test with every class to learn from. Add other people, or "
            "remove the copies first."
        ) from error
    return replace(drawn, kind="repaired")
