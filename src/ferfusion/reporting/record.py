"""One row of results.csv: a trained model on its test split."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from ferfusion.atomic import write_text
from ferfusion.errors import ResultsError
from ferfusion.evaluation.metrics import summarise
from ferfusion.evaluation.predictions import Predictions
from ferfusion.evaluation.statistics import wilson
from ferfusion.modality import Modality

Fusion = Literal["single", "early", "late"]


@dataclass(frozen=True)
class RunRecord:
    """One model, one seed, one test split. The fields are the columns of results.csv.

    Attributes:
        variant: Which table of a plan it belongs to; empty where a study has only one.
        model: Name of the model; the same under every seed and fold of a study.
        modalities: Joined by "+", in the fixed order.
        fusion: How modalities are joined; "single" where there is one.
        steps: 1 or 3 for early fusion, None otherwise.
        method: "network", "attention", or a baseline such as "alexnet-svm".
        backbone: Name of the backbone, the same for every modality.
        split: Kind of split, "subject" or "paper".
        seed: Of the split and the training.
        fold: Which of the seed's splits, from 1; None where there is one, or all are pooled.
        n_test: Tested samples.
        correct: How many of them were right.
        accuracy: `correct / n_test`, from 0 to 1 like all rates here.
        ci_low: Lower end of the 95 % Wilson interval of the accuracy.
        ci_high: Upper end.
        macro_precision: Mean over classes.
        macro_recall: Likewise.
        macro_f1: Likewise.
        parameters: Weights of the whole model, all branches counted.
        seconds: Training time of what this model needed on top of the models it starts from.
        paper_accuracy: What the paper reports for this model, None where it reports nothing.
    """

    variant: str
    model: str
    modalities: str
    fusion: Fusion
    steps: int | None
    method: str
    backbone: str
    split: str
    seed: int
    fold: int | None
    n_test: int
    correct: int
    accuracy: float
    ci_low: float
    ci_high: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    parameters: int
    seconds: float
    paper_accuracy: float | None

    @property
    def key(self) -> str:
        """Names the model among all variants of a study."""
        return f"{self.variant}/{self.model}" if self.variant else self.model

    @property
    def inputs(self) -> str:
        """The modalities in words: "visible + MSX"."""
        names = self.modalities.split("+")
        return " + ".join("MSX" if name == Modality.MSX else name for name in names)

    @property
    def how(self) -> str:
        """The fusion in words: "single", "early, 3-step", "late", "alexnet-svm, early"."""
        words = [] if self.method == "network" else [self.method]
        words += [] if words and self.fusion == "single" else [self.fusion]
        return ", ".join([*words, *([f"{self.steps}-step"] if self.steps else [])])


def make_record(
    predictions: Predictions,
    *,
    model: str,
    modalities: Iterable[Modality],
    fusion: Fusion,
    steps: int | None,
    backbone: str,
    split: str,
    seed: int,
    parameters: int,
    seconds: float,
    paper_accuracy: float | None,
    method: str = "network",
    variant: str = "",
    fold: int | None = None,
) -> RunRecord:
    """Scores the predictions of one run on its test split.

    Raises:
        ValueError: There is no prediction.
    """
    scores = summarise(predictions.labels, predictions.predicted, len(predictions.classes))
    interval = wilson(scores.correct, scores.n)
    return RunRecord(
        variant=variant,
        model=model,
        modalities="+".join(modalities),
        fusion=fusion,
        steps=steps,
        method=method,
        backbone=backbone,
        split=split,
        seed=seed,
        fold=fold,
        n_test=scores.n,
        correct=scores.correct,
        accuracy=scores.accuracy,
        ci_low=interval.low,
        ci_high=interval.high,
        macro_precision=scores.macro_precision,
        macro_recall=scores.macro_recall,
        macro_f1=scores.macro_f1,
        parameters=parameters,
        seconds=float(seconds),
        paper_accuracy=paper_accuracy,
    )


def write_results(records: Sequence[RunRecord], path: Path) -> None:
    """Writes results.csv: one row per record, rates in full precision, None as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(RunRecord))
    writer.writerows(astuple(record) for record in records)
    write_text(path, text.getvalue())


def read_results(path: Path) -> tuple[RunRecord, ...]:
    """Reads what `write_results` wrote.

    Raises:
        ResultsError: The file is missing or is not such a table; says which line.
    """
    if not path.is_file():
        raise ResultsError(f"There are no results at {path}. Run `ferfusion study` first.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ResultsError(f"{path} is not a CSV file ({error}). {_MEND}") from error
    columns = [field.name for field in fields(RunRecord)]
    if not rows or rows[0] != columns:
        raise ResultsError(f"The columns of {path} are not {', '.join(columns)}. {_MEND}")
    records: list[RunRecord] = []
    for line, row in enumerate(rows[1:], start=2):
        try:
            records.append(_parse(dict(zip(columns, row, strict=True))))
        except ValueError as error:
            raise ResultsError(f"Line {line} of {path} can't be read: {error}. {_MEND}") from error
    return tuple(records)


_MEND = "Move it away and run the study again: finished models are not trained anew."


def _parse(cells: dict[str, str]) -> RunRecord:
    fusion = next((known for known in get_args(Fusion) if known == cells["fusion"]), None)
    if fusion is None:
        raise ValueError(f"fusion is '{cells['fusion']}', not single, early or late")
    return RunRecord(
        variant=cells["variant"],
        model=cells["model"],
        modalities=cells["modalities"],
        fusion=fusion,
        steps=int(cells["steps"]) if cells["steps"] else None,
        method=cells["method"],
        backbone=cells["backbone"],
        split=cells["split"],
        seed=int(cells["seed"]),
        fold=int(cells["fold"]) if cells["fold"] else None,
        n_test=int(cells["n_test"]),
        correct=int(cells["correct"]),
        accuracy=float(cells["accuracy"]),
        ci_low=float(cells["ci_low"]),
        ci_high=float(cells["ci_high"]),
        macro_precision=float(cells["macro_precision"]),
        macro_recall=float(cells["macro_recall"]),
        macro_f1=float(cells["macro_f1"]),
        parameters=int(cells["parameters"]),
        seconds=float(cells["seconds"]),
        paper_accuracy=float(cells["paper_accuracy"]) if cells["paper_accuracy"] else None,
    )
