"""The files that say what `ferfusion explain` found: page, sheet, tables, facts."""

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from ferfusion.atomic import making_folder, write_text
from ferfusion.cli.explanation import Explanation
from ferfusion.errors import ResultsError
from ferfusion.evaluation.faithfulness import Comparison, Curves, measure_areas
from ferfusion.evaluation.heat_regions import RegionTotal
from ferfusion.evaluation.shapley import Contribution
from ferfusion.inference.cam_sheet import draw_columns
from ferfusion.inference.removal import RANDOM_ORDERS, STEPS
from ferfusion.locks import hold
from ferfusion.reporting.explanation_page import (
    ExplanationPage,
    write_explanation_page,
)
from ferfusion.study.manifest import describe_versions

PAGE, SHEET, FACTS = "explained.html", "sheet.png", "explain.json"
FAITHFULNESS, CURVES, REGIONS = "faithfulness.csv", "curves.csv", "regions.csv"
CONTRIBUTIONS, SAMPLES = "contributions.csv", "samples.csv"
FILES = (PAGE, SHEET, FACTS, FAITHFULNESS, CURVES, REGIONS, CONTRIBUTIONS, SAMPLES)


def check_out(out: Path, *, overwrites: bool) -> None:
    """Looks whether results may be written there, before and after the work.

    Raises:
        ResultsError: Something is in the way, or nothing may be written there.
    """
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not os.access(above, os.W_OK):
        raise ResultsError(f"Nothing may be written to {above}. Give another --out.")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ResultsError(f"{out} is a file, and a folder is needed. Give another --out.")
    strange = sorted(p.name for p in out.iterdir() if p.name not in FILES)
    if strange or not (out / FACTS).exists():
        raise ResultsError(
            f"{out} holds what `ferfusion explain` did not write"
            f"{f' ({strange[0]})' if strange else ''}, and is left alone. Give another --out."
        )
    if not overwrites:
        raise ResultsError(
            f"{out} is there already. Add --overwrite to replace it, or give another --out."
        )


def write_files(made: Explanation, page: ExplanationPage, out: Path, *, overwrites: bool) -> None:
    """Writes the folder, whole or not at all.

    Raises:
        ResultsError: As `check_out`; another process may have written meanwhile.
    """
    goal = out.resolve()
    goal.parent.mkdir(parents=True, exist_ok=True)
    with hold(goal), making_folder(goal) as part:
        check_out(goal, overwrites=overwrites)
        write_explanation_page(page, part / PAGE)
        titles = [sample.expression for sample in made.shown]
        Image.fromarray(draw_columns(made.columns, titles)).save(part / SHEET)
        labels = made.checkpoint.blueprint.labels
        if made.measured:
            _write_csv(part / FAITHFULNESS, _list_comparisons(made.comparisons))
            _write_csv(part / CURVES, _list_curves(made.curves or {}))
            _write_csv(part / REGIONS, _list_regions(made.regions))
            _write_csv(part / SAMPLES, _list_samples(made, labels))
        if made.contributions:
            _write_csv(part / CONTRIBUTIONS, _list_contributions(made.contributions))
        write_text(part / FACTS, json.dumps(_list_facts(made), indent=2) + "\n")
        if goal.exists():
            shutil.rmtree(goal)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["nothing"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow(plain)
    write_text(path, text.getvalue())


def _list_comparisons(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {
            "game": c.kind, "against": c.other, "n": c.n, "area_map": c.area,
            "area_other": c.other_area, "gain": c.gain, "gain_low": c.interval.low,
            "gain_high": c.interval.high, "p": c.p_value, "p_adjusted": c.adjusted,
            "verdict": c.verdict,
        }
        for c in comparisons
    ]  # fmt: skip


def _list_curves(curves: Curves) -> list[dict[str, Any]]:
    return [
        {"game": kind, "order": order, "share": place / (curve.shape[1] - 1), "prob": float(prob)}
        for kind, of_kind in curves.items()
        for order, curve in of_kind.items()
        for place, prob in enumerate(curve.mean(axis=0))
    ]


def _list_regions(totals: Sequence[RegionTotal]) -> list[dict[str, Any]]:
    return [
        {
            "class": t.explained or "all", "modality": str(t.modality), "region": t.region,
            "n": t.n, "share": t.share, "share_low": t.share_interval.low,
            "share_high": t.share_interval.high, "area": t.area, "density": t.density,
            "density_low": t.density_interval.low, "density_high": t.density_interval.high,
        }
        for t in totals
    ]  # fmt: skip


def _list_contributions(contributions: Sequence[Contribution]) -> list[dict[str, Any]]:
    return [
        {
            "class": c.explained or "all", "modality": str(c.modality), "n": c.n, "mean": c.mean,
            "low": c.interval.low, "high": c.interval.high,
        }
        for c in contributions
    ]  # fmt: skip


def _list_samples(made: Explanation, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Lists each measured sample with its own areas and Shapley values."""
    areas = {
        f"{kind}_{order}": measure_areas(curve)
        for kind, of_kind in (made.curves or {}).items()
        for order, curve in of_kind.items()
    }
    credit = {f"adds_{modality}": values for modality, values in made.credit.items()}
    known = {"prob_nothing_known": made.values[frozenset()]} if made.values else {}
    answers = made.predictions.predicted[made.places]
    probs = made.predictions.probs[made.places, made.explained]
    return [
        {
            "sample_id": sample.id, "subject": sample.subject or "", "label": sample.expression,
            "answer": labels[answers[row]], "explained": labels[made.explained[row]],
            "prob_explained": float(probs[row]),
            **{name: float(own[row]) for name, own in (known | credit | areas).items()},
        }
        for row, sample in enumerate(made.measured)
    ]  # fmt: skip


def _list_facts(made: Explanation) -> dict[str, Any]:
    wishes = made.wishes
    return {
        "finding": made.finding or None,
        "run": str(made.run),
        "model": made.checkpoint.blueprint.to_json(),
        "data": str(made.data),
        "data_fingerprint": made.fingerprint,
        "part": wishes.part,
        "method": wishes.method,
        "explained": wishes.explained,
        "layers": {str(modality): layer for modality, layer in made.layers.items()},
        "samples_shown": [sample.id for sample in made.shown],
        "samples_available": len(made.predictions),
        "correct": int(made.predictions.correct.sum()),
        "samples_measured": len(made.measured),
        "people_measured": made.people,
        "regions_from": made.about_regions or None,
        "absent": wishes.absent if made.contributions else None,
        "other_faces": made.others[0],
        "other_faces_from": made.others[1] or None,
        "steps": STEPS,
        "random_orders": RANDOM_ORDERS,
        "seconds": made.seconds,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": describe_versions(),
    }
