"""Everything a report shows, as plain data that a study reads back from its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

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


@dataclass(frozen=True, eq=False)
class LateChoice:
    """How late fusion's weights were found in one run.

    Attributes:
        modalities: Names, in the order of the columns of `weights`.
        weights: Every mixture that was tried; rows sum to 1.
        correct: Right answers of each mixture on validation.
        chosen: The row that won.
        n: Validation samples.
    """

    modalities: tuple[str, ...]
    weights: Float[np.ndarray, "mixtures modalities"]
    correct: Int[np.ndarray, " mixtures"]
    chosen: int
    n: int

    @property
    def mixture(self) -> Mapping[str, float]:
        """The weights that won."""
        return dict(zip(self.modalities, self.weights[self.chosen].tolist(), strict=True))

    @property
    def n_tied(self) -> int:
        """How many mixtures are right as often as the winner, itself included."""
        return int((self.correct == self.correct[self.chosen]).sum())


@dataclass(frozen=True)
class Cost:
    """What one answer of a model costs.

    Attributes:
        megabytes: Of its weights.
        gflop: Operations for one sample, a multiplication and an addition counted as two; None
            where no network is run.
        latency_ms: Median for one sample at a time.
        memory_mb: Most memory used, the weights included; None where no network is run.
        device: On what the latency was measured.
    """

    megabytes: float
    gflop: float | None
    latency_ms: float
    memory_mb: float | None
    device: str


@dataclass(frozen=True)
class RunReport:
    """One model under one seed and fold, or under one seed with its folds pooled.

    Attributes:
        record: Its row in results.csv.
        predictions: On the test split; of pooled folds, on every sample once.
        calibrated: Probabilities after the temperature that validation chose, rows as in
            `predictions`; of pooled folds, each fold with its own temperature.
        temperatures: One, or one per pooled fold.
        stages: Its trainings in order; none for late fusion and baselines.
        val_correct: Right answers on the validation split, of the weights that were kept.
        val_n: Samples of the validation split.
        late: How late fusion's weights were found; one per pooled fold.
        fold_correct: Right answers of each pooled fold, with `fold_n` samples each.
        fold_n: Test samples of each pooled fold.
        cost: What an answer costs, where it was measured.
        profile: Phase of the training -> its seconds, where it was measured; folds added up.
    """

    record: RunRecord
    predictions: Predictions
    calibrated: Float[np.ndarray, "samples classes"]
    temperatures: tuple[float, ...]
    stages: tuple[StageHistory, ...]
    val_correct: int
    val_n: int
    late: tuple[LateChoice, ...] = ()
    fold_correct: tuple[int, ...] = ()
    fold_n: tuple[int, ...] = ()
    cost: Cost | None = None
    profile: Mapping[str, float] = field(default_factory=dict[str, float])


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
        fold: Which of the seed's splits, from 1; None where there is one.
        tables: Names of the tables whose models were made with it.
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
    fold: int | None = None
    tables: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Skipped:
    """A run of the plan that has no result, and why, in a sentence."""

    name: str
    why: str


@dataclass(frozen=True)
class VariantFacts:
    """What the rows of one table share: a name and how they were trained, in words."""

    name: str
    recipe: Mapping[str, str]


@dataclass(frozen=True)
class Reported:
    """What others report for a model, and what is known of how they made it.

    Attributes:
        percent: Accuracy as printed.
        correct: The same as a count, where it is one.
        n: Test samples of that count.
        source: Who reports it, and where.
        mark: "paper", "follow-up" or "inferred": how we know.
        remark: What a reader must know of the number; may be empty.
        recipe: Facts of their recipe: what, value, mark.
    """

    percent: float | None
    correct: int | None
    n: int | None
    source: str
    mark: str
    remark: str
    recipe: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class StudySummary:
    """A whole study.

    Attributes:
        title: Heading of the page.
        data: What was read.
        splits: One per seed and fold, and again for each group of tables with splits of their own.
        runs: In the order of the tables; seeds and folds of one model share `record.key`.
        variants: The tables, in order.
        versions: Name -> version of software, and hardware, in words.
        command: The line that makes these results again.
        plan: Name of the plan; empty for one comparison.
        skipped: What failed or was left out.
        leaks: What the audit of the splits found and was told to ignore, one sentence each.
        audited: One sentence on what the audit looked at; None where there was none.
        likely_shared: One sentence on who, by a guess from names or times, is in test and in
            another part; None where everybody is named or nobody seems to be.
        remarks: Question of a comparison, or "cost" -> what a reader must know of it.
        reported: Key of a model -> what others report for it on the data these classes are of.
    """

    title: str
    data: DataFacts
    splits: tuple[SplitFacts, ...]
    runs: tuple[RunReport, ...]
    variants: tuple[VariantFacts, ...]
    versions: Mapping[str, str]
    command: str
    plan: str = ""
    skipped: tuple[Skipped, ...] = ()
    leaks: tuple[str, ...] = ()
    audited: str | None = None
    likely_shared: str | None = None
    remarks: Mapping[str, str] = field(default_factory=dict[str, str])
    reported: Mapping[str, Reported] = field(default_factory=dict[str, Reported])
