"""How a trained model behaves when asked: how sure it may be, when it would rather not answer."""

from pathlib import Path

from ferfusion.evaluation.calibration import apply_temperature
from ferfusion.evaluation.coverage import AnswerRule, choose_answer_rule
from ferfusion.evaluation.predictions import read_predictions
from ferfusion.evaluation.run_folder import RUN, VAL, read_facts

DEFAULT_COVERAGE = 0.9
"""Share of the validation samples that a model answers, unless somebody says otherwise."""


def read_manners(run: Path, coverage: float = DEFAULT_COVERAGE) -> tuple[float, AnswerRule | None]:
    """Gives a run's temperature and when it would rather not answer, both from validation.

    Args:
        run: Its folder. One without predictions has neither.
        coverage: Share of the validation samples to be answered.

    Raises:
        ResultsError: What lies there is damaged.
    """
    if not (run / RUN).is_file() or not (run / VAL).is_file():
        return 1.0, None
    temperature = float(read_facts(run).get("temperature") or 1.0)
    val = read_predictions(run / VAL)
    if len(val) == 0:
        return temperature, None
    calibrated = apply_temperature(val.probs, temperature)
    return temperature, choose_answer_rule(calibrated, val.labels, coverage)
