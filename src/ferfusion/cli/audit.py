"""Looks for leaks: in `inspect`, in all of the data, and before every study, in its splits."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferfusion.cli.setup import is_main_process, say
from ferfusion.data.cache import ImageStore
from ferfusion.data.cache_folder import LIMIT_GB
from ferfusion.data.dataset import Dataset
from ferfusion.data.leaks import (
    AuditReport,
    find_leaks,
    find_two_names,
    group_links,
    repair_split,
)
from ferfusion.data.links import Link
from ferfusion.data.splits import PARTS, Split, write_split
from ferfusion.data.subject_guesses import find_exposure
from ferfusion.data.twins import PictureAudit, audit_pictures
from ferfusion.errors import SplitError
from ferfusion.imaging.heat_input import read_picture
from ferfusion.modality import MODALITIES, Modality
from ferfusion.reporting.audit_page import AuditPage, Pair, Picture, write_audit_page
from ferfusion.sample import Sample

LEAKS_PAGE = "leaks.html"
TWINS_PAGE = "twins.html"
_SHOWN_PAIRS = 60
_SHOWN_GROUPS = 5
_MAY_BE_NONE = "A pair that is shown may be none: look at the pairs before you act on them."


@dataclass(frozen=True)
class AuditSummary:
    """What the audit of a study's splits found and was told to ignore.

    Attributes:
        sentences: What leaks, a sentence each; empty if nothing does.
        looked_at: One sentence on what was looked at.
        page: Where the pairs lie side by side; None if nothing leaks.
        likely_shared: Who, by a guess, is in test and in another part; None if nobody seems to be.
    """

    sentences: tuple[str, ...]
    looked_at: str
    page: Path | None = None
    likely_shared: str | None = None


def audit_before_study(
    dataset: Dataset,
    store: ImageStore,
    splits: Sequence[Split],
    *,
    allow_leaks: bool,
    out: Path,
    advance: Callable[[int, int], None],
    cache: Path | None = None,
    cache_limit_gb: float = LIMIT_GB,
) -> AuditSummary:
    """Finds what leaks across the parts of a study's splits.

    The paper's split shares subjects by design: there only pictures are leaks, and the page of the
    study warns of the subjects anyhow.

    Args:
        dataset: The samples of the study.
        store: Its decoded pictures: their modalities are audited, at a size of the audit's own.
        splits: All that will be used.
        allow_leaks: Say what leaks and go on.
        out: Folder of the study, where the page with the pairs is written.
        advance: Told of progress.
        cache: Where decoded pictures and earlier audits are kept.
        cache_limit_gb: How large it may grow.

    Raises:
        SplitError: Something leaks and leaks are not allowed.
    """
    likely_shared = warn_of_people(dataset, splits)
    audit = audit_pictures(
        dataset, tuple(store.pictures), folder=cache, limit_gb=cache_limit_gb, advance=advance
    )
    reports = [find_leaks(audit.links, split, dataset) for split in splits]
    leaking = [r for r in reports if r.leaks or (r.subjects and r.split.kind != "paper")]
    if not leaking:
        return AuditSummary((), audit.looked_at, likely_shared=likely_shared)
    worst = max(leaking, key=lambda r: (r.exposed["test"], len(r.leaks), len(r.subjects)))
    with_subjects = worst.split.kind != "paper"
    sentences = worst.sentences(with_subjects=with_subjects)
    if len(splits) > 1:
        sentences += (
            f"{len(leaking)} of {len(splits)} splits leak; these counts are of the worst, drawn "
            f"from seed {worst.split.seed}.",
        )
    page = out / LEAKS_PAGE
    data = shlex.quote(str(dataset.root))
    if set(store.pictures) != set(dataset.modalities):
        data += f" --modalities {','.join(store.pictures)}"
    ways_out = _list_ways_out(data, in_folds=_are_folds(splits))
    if is_main_process():
        write_audit_page(
            AuditPage(
                f"Leaks in the split of {dataset.root.name}",
                _name_exposed(worst),
                f"{audit.looked_at} {audit.blind_to}",
                sentences[1:] if worst.leaks else sentences,
                _lay_out(worst, dataset, tuple(store.pictures)),
                len(worst.leaks),
                ways_out,
            ),
            page,
        )
    if not allow_leaks:
        opening = (
            "The split leaks, so its test would flatter every model:"
            if worst.touches_test(with_subjects=with_subjects)
            else "The split leaks, though not into its test:"
        )
        ways = (f"{what[:1].upper()}{what[1:]}: {line}" for what, line in ways_out)
        raise SplitError(
            "\n  ".join((opening, *sentences))
            + "\n  ".join((f"\nLook at {page}. {_MAY_BE_NONE} What to do:", *ways))
        )
    for sentence in sentences:
        say(f"Leak: {sentence}", colour="red")
    say(f"Look at {page}. {_MAY_BE_NONE}")
    return AuditSummary(sentences, audit.looked_at, page, likely_shared)


def _are_folds(splits: Sequence[Split]) -> bool:
    """Whether several splits were drawn from one seed."""
    different = {split.checksum: (split.kind, split.seed) for split in splits}
    return len(set(different.values())) < len(different)


def _list_ways_out(data: str, *, in_folds: bool) -> tuple[tuple[str, str], ...]:
    """Lists what to do about a leak, and what to type; folds can't be given as one file."""
    repair = f"ferfusion inspect {data} --repair clean-split.csv"
    study = f"ferfusion study {data} --split-file clean-split.csv --out DIR"
    all_the_same = ("to run all the same", "add --allow-leaks; the report says so")
    if not in_folds:
        return (
            ("for a split in which no leak is found", repair),
            ("for a study of it", study),
            all_the_same,
        )
    return (
        ("where one person has two names", "give both as one in subjects.csv, split by subject"),
        ("where a picture is there twice", "remove the copy"),
        ("where a moment stands in two samples", "put its pictures into one"),
        ("for one split instead of folds, in which no leak is found", repair),
        ("for a study of it, without folds", study),
        all_the_same,
    )


def inspect_twins(
    dataset: Dataset,
    split: Split | None,
    out: Path,
    *,
    modalities: Sequence[Modality],
    advance: Callable[[int, int], None],
    cache: Path | None = None,
    cache_limit_gb: float = LIMIT_GB,
    options: Sequence[str] = (),
) -> PictureAudit:
    """Says which samples show the same photograph, and what of it leaks in a split.

    Args:
        dataset: All samples.
        split: The split that a study would use, if there is one.
        out: Where the page with the pairs is written, if there are any.
        modalities: Which pictures are looked at.
        advance: Told of progress.
        cache: Where decoded pictures and earlier audits are kept.
        cache_limit_gb: How large it may grow.
        options: What was asked for on the command line, so that the page's commands say it too.
    """
    audit = audit_pictures(
        dataset, modalities, folder=cache, limit_gb=cache_limit_gb, advance=advance
    )
    usable = dataset.complete_in(modalities)
    if 0 < len(usable.samples) < len(dataset.samples):
        # A study looks at these alone and must not find what this audit didn't.
        alone = audit_pictures(
            usable, modalities, folder=cache, limit_gb=cache_limit_gb, advance=advance
        )
        known = {(link.first, link.second) for link in audit.links}
        more = [link for link in alone.links if (link.first, link.second) not in known]
        audit = replace(audit, links=(*audit.links, *more))
    say(f"Looked for twins: {audit.looked_at}")
    if not audit.links:
        say("No two samples are found to show the same photograph.")
    else:
        _tell_groups(audit, dataset)
    report = None if split is None else find_leaks(audit.links, split, dataset)
    told = ("No split was looked at.",) if report is None else _tell_split(report)
    if split is not None:
        warn_of_people(usable, [split])
    if audit.links:
        groups = group_links(audit.links)
        n_in_groups = sum(len(group) for group in groups)
        path = out / TWINS_PAGE
        page = AuditPage(
            f"Twins in {dataset.root.name}",
            f"{n_in_groups} of {len(dataset.samples)} samples are taken for twins; they make "
            f"{len(groups)} groups that must stay together.",
            f"{audit.looked_at} {audit.blind_to}",
            told,
            _lay_out(report, dataset, modalities, audit.links),
            len(audit.links),
            ()
            if report is None or report.is_clean
            else (
                (
                    "for a split in which no leak is found",
                    shlex.join(
                        ("ferfusion", "inspect", str(dataset.root), *options, "--repair", "FILE")
                    ),
                ),
            ),
        )
        write_audit_page(page, path)
        say(f"Look at {path}. {_MAY_BE_NONE}")
    return audit


def warn_of_people(dataset: Dataset, splits: Sequence[Split]) -> str | None:
    """Says that somebody nobody named seems to be in test and in another part, and what to do.

    It goes by names and times, which cost little. It is a guess, so it never stops a study.

    Returns:
        What was said, without what to do; None if nobody seems to be.
    """
    exposure = find_exposure(dataset, splits)
    if exposure is None:
        return None
    n_people, (first, *_) = len(exposure.people), exposure.people
    of_how_many = len(splits[0].parts["test"])
    guess = shlex.join(("ferfusion", "subjects", str(dataset.root), "--out", "subjects-guess.csv"))
    sentence = (
        f"Likely the same person is in test and outside it: {exposure.n_test} of {of_how_many} "
        f"test samples, {n_people} people such as '{first}', if a guess is right "
        f"(confidence {exposure.grouping.confidence:.2f}). {exposure.grouping.sentence}"
    )
    say(f"{sentence}\n  To check and name them: {guess}", colour="yellow")
    return sentence


def write_repair(dataset: Dataset, audit: PictureAudit, seed: int, path: Path) -> Split:
    """Writes a split in which no leak is found, and says how it came out.

    Raises:
        SplitError: There is none.
    """
    split = repair_split(dataset, audit.links, seed)
    write_split(split, path)
    sizes = ", ".join(f"{part} {len(split.parts[part])}" for part in PARTS)
    say(f"A split in which no leak is found is in {path}: {sizes} samples. {audit.blind_to}")
    return split


def _tell_groups(audit: PictureAudit, dataset: Dataset) -> None:
    groups = group_links(audit.links)
    say(
        f"{sum(len(group) for group in groups)} of {len(dataset.samples)} samples are taken for "
        "twins. "
        f"They make {len(groups)} groups that must stay together in one part of a split:",
        colour="yellow",
    )
    for group in groups[:_SHOWN_GROUPS]:
        shown = ", ".join(group[:4]) + (f" and {len(group) - 4} more" if len(group) > 4 else "")
        say(f"  {shown}")
    if len(groups) > _SHOWN_GROUPS:
        say(f"  and {len(groups) - _SHOWN_GROUPS} more groups")
    names = find_two_names(audit.links, dataset)
    if names:
        shown = ", ".join(f"{a} and {b}" for a, b in names[:5])
        say(
            f"One moment seems to stand under two subjects in {len(names)} cases: {shown}"
            f"{', ...' if len(names) > 5 else ''}. Are they one person?",
            colour="yellow",
        )


def _tell_split(report: AuditReport) -> tuple[str, ...]:
    """Says what leaks in which split, and gives what was said."""
    kind = {"paper": "by image", "subject": "by subject"}.get(report.split.kind, "in the file")
    which = f"The split {kind}" + (f", seed {report.split.seed}" if kind.startswith("by") else "")
    if report.is_clean:
        clean = f"{which}: no leak is found."
        say(clean)
        return (clean,)
    say(f"{which} leaks:", colour="red")
    for sentence in report.sentences():
        say(f"  {sentence}")
    return (f"{which} leaks.", *report.sentences())


def _name_exposed(report: AuditReport) -> str:
    if report.leaks:
        return report.sentences()[0]
    return f"{len(report.subjects)} subjects are in more than one part of the split."


def _lay_out(
    report: AuditReport | None,
    dataset: Dataset,
    modalities: Sequence[Modality],
    links: Sequence[Link] = (),
) -> tuple[Pair, ...]:
    """Reads the pictures of the pairs to be shown: what leaks first, then other twins."""
    part_of: Mapping[str, str] = {}
    leaks: list[Link] = []
    if report is not None:
        part_of = {i: part for part in PARTS for i in report.split.parts[part]}
        leaks = [leak.link for leak in report.leaks]
    crossing = set(leaks)
    shown = (*leaks, *(link for link in links if link not in crossing))[:_SHOWN_PAIRS]
    samples = {sample.id: sample for sample in dataset.samples}
    pairs = []
    for link in shown:
        both = (samples[link.first], samples[link.second])
        pictures = _lay_side_by_side(link, both, modalities)
        names = tuple(", ".join(x for x in (s.id, s.subject, part_of.get(s.id)) if x) for s in both)
        why = tuple(
            f"{e.first}: {e.says}" if e.first is e.second else f"{e.first} and {e.second}: {e.says}"
            for e in link.evidence
        )
        pairs.append(Pair(link.kind, (names[0], names[1]), why, pictures))
    return tuple(pairs)


def _lay_side_by_side(
    link: Link, both: tuple[Sample, Sample], modalities: Sequence[Modality]
) -> dict[str, tuple[Picture | None, Picture | None]]:
    """Reads the pictures of a pair, a row a modality; what was matched across them comes first."""
    rows = [(e.first, e.second) for e in link.evidence if e.first is not e.second]
    across = {m for row in rows for m in row}
    for m in MODALITIES:
        n_there = sum(m in sample.images for sample in both)
        if m in modalities and (n_there == 2 or (n_there == 1 and m not in across)):
            rows.append((m, m))
    return {
        str(a) if a is b else f"{a}, {b}": tuple(
            read_picture(sample.images[m]) if m in sample.images else None
            for sample, m in zip(both, (a, b), strict=True)
        )
        for a, b in dict.fromkeys(rows)
    }  # pyright: ignore[reportReturnType]
