"""Everything a report shows, as plain data that a study reads back from its files."""

from collections.abc import Mapping
from dataclasses import dataclass

from ferfusion.evaluation.predictions import Predictions
from ferfusion.reporting.record import RunRecord


@dataclass(frozen=True)
class Epoch:
    """One line of a training log. Losses are means per sample; accuracy is from 0 to 1."""

    epoch: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float


@dataclass(frozen=True)
class StageHistory:
    """One training of a run: "visible", "fusion".

    Attributes:
        name: What was trained.
        epochs: In order.
        best_epoch: The `epoch` that validation chose and whose weights were kept.
    """

    name: str
    epochs: tuple[Epoch, ...]
    best_epoch: int


@dataclass(frozen=True)
class RunReport:
    """One model under one seed.

    Attributes:
        record: Its row in results.csv.
        predictions: On the test split.
        stages: Its trainings in order; none for late fusion.
        val_correct: Right answers on the validation split, of the weights that were kept.
        val_n: Samples of the validation split.
        late_weights: Weight per modality name, for late fusion.
    """

    record: RunRecord
    predictions: Predictions
    stages: tuple[StageHistory, ...]
    val_correct: int
    val_n: int
    late_weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class DataFacts:
    """What was read.

    Attributes:
        root_name: Name of the folder or file, without the way to it.
        reader: Which reader, in words.
        pairing: One sentence: how pictures of one sample were found.
        subjects_from: Where subjects come from; None where nobody is named.
        class_counts: Samples per class, in label order.
        n_subjects: People, where they are named.
        modalities: Names, in the fixed order.
        n_leftovers: Images and rows that are in no sample.
        note: What a reader must know of the data before the numbers, such as "Stand-in data: the
            infrared is simulated, so these accuracies say nothing about real infrared."
        is_viri: Whether this is the paper's VIRI data, so that its numbers may be compared.
    """

    root_name: str
    reader: str
    pairing: str
    subjects_from: str | None
    class_counts: Mapping[str, int]
    n_subjects: int
    modalities: tuple[str, ...]
    n_leftovers: int
    note: str | None = None
    is_viri: bool = False


@dataclass(frozen=True)
class SplitFacts:
    """One split of the data.

    Attributes:
        kind: "subject" or "paper".
        seed: Of the draw.
        checksum: Of the split file.
        counts: Per part ("train", "val", "test"), samples per class.
        subjects: Per part, how many people; empty where nobody is named.
        shared_subjects: Who is in more than one part.
    """

    kind: str
    seed: int
    checksum: str
    counts: Mapping[str, Mapping[str, int]]
    subjects: Mapping[str, int]
    shared_subjects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A model of the plan that has no result, and why, in a sentence."""

    title: str
    seed: int
    why: str


@dataclass(frozen=True)
class StudySummary:
    """A whole study.

    Attributes:
        title: Heading of the page.
        data: What was read.
        splits: One per seed.
        runs: Models in the order of the tables; the seeds of one model share `record.model`.
        recipe: How every model was trained: name of an option -> value, in words.
        versions: Name -> version of software, and hardware, in words.
        command: The line that makes these results again.
        skipped: What failed or was left out.
    """

    title: str
    data: DataFacts
    splits: tuple[SplitFacts, ...]
    runs: tuple[RunReport, ...]
    recipe: Mapping[str, str]
    versions: Mapping[str, str]
    command: str
    skipped: tuple[Skipped, ...] = ()
