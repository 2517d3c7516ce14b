import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from ferfusion.config import OPTIONS, Settings, read_config, render, resolve
from ferfusion.errors import ConfigError
from ferfusion.study.plan import PLANS
from ferfusion.training.recipe import Recipe

OTHER: dict[str, Any] = {
    "modalities": ("infrared", "msx"),
    "rows": ("late", "visible"),
    "weights": ("none",),
    "seed": (3, 1, 2),
    "size": 96,
    "steps": 1,
    "dropout": 0.125,
    "label_smoothing": 0.25,
}


def other_value(name: str) -> Any:
    """Gives a valid value that is not the default."""
    default, option = getattr(Settings(), name), OPTIONS[name]
    if name in OTHER:
        return OTHER[name]
    if isinstance(default, bool):
        return not default
    if isinstance(default, tuple):
        return option.metadata["choices"][:2] or ("one", "two")
    if option.metadata["choices"]:
        return next(c for c in option.metadata["choices"] if c != default)
    return f"{default} other".strip() if isinstance(default, str) else default + 1


def as_typed(value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(str(v) for v in value)
    return value if isinstance(value, bool) else str(value)


def write_toml(path: Path, values: dict[str, Any]) -> Path:
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    path.write_text(tomlkit.dumps(plain))
    return path


def test_nothing_given_means_the_defaults() -> None:
    assert resolve({}) == Settings()


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_comes_from_words_from_a_file_and_by_default(
    name: str, tmp_path: Path
) -> None:
    default, other = getattr(Settings(), name), other_value(name)
    assert other != default
    for value in (default, other):
        plan = PLANS[value].defaults if name == "plan" and value else {}
        wanted = dataclasses.replace(Settings(), **{name: value}, **plan)
        assert resolve({name: as_typed(value)}) == wanted
        assert resolve({}, write_toml(tmp_path / "a.toml", {name: value})) == wanted
    # The command line wins over the file.
    file = write_toml(tmp_path / "b.toml", {name: default})
    assert getattr(resolve({name: as_typed(other)}, file), name) == other


@pytest.mark.parametrize("changed", [False, True])
def test_rendered_settings_are_read_back(changed: bool, tmp_path: Path) -> None:
    values = {name: other_value(name) for name in OPTIONS} if changed else {}
    settings = resolve(values)
    text = render(settings)
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert resolve({}, path) == settings
    assert render(resolve({}, path)) == text
    assert list(tomllib.loads(text)) == list(OPTIONS)


def test_every_option_is_explained() -> None:
    for name, option in OPTIONS.items():
        comment = option.metadata["comment"]
        assert comment.endswith((".", "`.")), name
        assert len(comment) > 10
        assert "\n" not in comment


def test_recipe_options_share_the_recipes_defaults() -> None:
    recipe, settings = Recipe(), Settings()
    for field in dataclasses.fields(Recipe):
        if field.name not in ("seed", "frozen"):
            assert getattr(settings, field.name) == getattr(recipe, field.name), field.name


def test_a_list_may_be_empty_where_its_default_is(tmp_path: Path) -> None:
    file = write_toml(tmp_path / "a.toml", {"quirks": ("double_softmax",)})
    assert resolve({}, file).quirks == ("double_softmax",)
    assert resolve({"quirks": ""}, file).quirks == ()
    for name in ("modalities", "rows", "weights", "seed"):
        with pytest.raises(ConfigError, match=f"--{name} needs at least one value"):
            resolve({name: ""})


def test_a_plan_changes_defaults_and_everything_else_wins(tmp_path: Path) -> None:
    for name, plan in PLANS.items():
        assert resolve({"plan": name}) == dataclasses.replace(
            Settings(), plan=name, **plan.defaults
        )
        for option, value in plan.defaults.items():
            assert getattr(Settings(), option) != value, "a default needn't be named"
    # What is typed wins over a file, a file over the plan, the plan over the defaults.
    file = write_toml(tmp_path / "a.toml", {"plan": "sound", "folds": 3, "size": 96})
    assert (resolve({}, file).folds, resolve({}, file).split) == (3, "subject")
    assert (resolve({"folds": "4"}, file).folds, resolve({"folds": "4"}, file).size) == (4, 96)
    # The plan that counts is the one that wins.
    other = resolve({"plan": "paper"}, file)
    assert (other.plan, other.folds, other.optimiser) == ("paper", 3, "adam")
    none = resolve({"plan": ""}, file)
    assert (none.plan, none.split) == ("", "auto")


def test_a_default_that_is_typed_wins_over_the_plan() -> None:
    default = Settings().epochs
    assert resolve({"plan": "paper"}).epochs != default
    assert resolve({"plan": "paper", "epochs": str(default)}).epochs == default
    assert resolve({"plan": "sound", "folds": "0"}).folds == 0


def test_settings_of_a_plan_are_read_back_as_they_were(tmp_path: Path) -> None:
    for name in PLANS:
        settings = resolve({"plan": name, "epochs": "7", "folds": "0"})
        path = tmp_path / f"{name}.toml"
        path.write_text(render(settings))
        assert resolve({}, path) == settings


def test_defaults_of_plans_are_options_with_valid_values() -> None:
    for plan in PLANS.values():
        assert plan.defaults.keys() <= OPTIONS.keys()
        values = {name: as_typed(value) for name, value in plan.defaults.items()}
        assert resolve(values) == dataclasses.replace(Settings(), **plan.defaults)
        assert plan.about


def test_lists_may_have_spaces_and_repeat_the_option() -> None:
    assert resolve({"seed": "0, 1,2"}).seed == (0, 1, 2)
    assert resolve({"rows": ("single", "late,early")}).rows == ("single", "late", "early")
    assert resolve({"seed": [4, 5]}).seed == (4, 5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"optimiser": "sdg"}, ["--optimiser", "'sdg'", "Did you mean 'sgd'?"]),
        ({"schedule": "cosin"}, ["Did you mean 'cosine'?"]),
        ({"quirks": "double_softmax,same_flips"}, ["--quirks 'same_flips'", "identical_flips"]),
        ({"augmentation": "papers"}, ["Did you mean 'paper'?"]),
        ({"precision": "fp8"}, ["--precision", "fp16"]),
        ({"plan": "sond"}, ["--plan 'sond'", "Did you mean 'sound'?"]),
        ({"folds": "51"}, ["--folds is 51", "at least 0 and at most 50"]),
        ({"workers": "0"}, ["--workers is 0", "at least 1"]),
        ({"epochs": "0"}, ["--epochs is 0", "at least 1"]),
        ({"epochs": "ten"}, ["--epochs must be a whole number, not 'ten'"]),
        ({"epochs": 2.5}, ["--epochs must be a whole number"]),
        ({"epochs": True}, ["--epochs must be a whole number"]),
        ({"size": "31"}, ["--size is 31", "at least 32 and at most 1024"]),
        ({"size": "1025"}, ["--size is 1025"]),
        ({"dropout": "1.5"}, ["--dropout is 1.5", "at most 1"]),
        ({"dropout": "nan"}, ["--dropout"]),
        ({"learning_rate": "inf"}, ["--learning-rate"]),
        ({"learning_rate": "-1"}, ["--learning-rate is -1", "at least 0"]),
        ({"batch_size": "1"}, ["--batch-size is 1", "at least 2"]),
        ({"seed": "0,x"}, ["--seed must be a whole number, not 'x'"]),
        ({"seed": ","}, ["--seed needs at least one value"]),
        ({"rows": ""}, ["--rows needs at least one value"]),
        ({"frozen_norms": "perhaps"}, ["--frozen-norms must be true or false"]),
        ({"backbone": 18}, ["--backbone must be text"]),
    ],
)
def test_nonsense_is_refused_with_what_would_make_sense(
    given: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(given)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epoch = 3\n", ["There is no option 'epoch'", "Did you mean 'epochs'?"]),
        (b"batch-size = 3\n", ["Did you mean 'batch_size'?"]),
        (b"epochs = \n", ["is not a TOML file", "config show"]),
        (b"\xff\xfe", ["is not a TOML file"]),
    ],
)
def test_file_that_makes_no_sense_is_named(
    content: bytes, words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        resolve({}, tmp_path / "nowhere.toml")


def test_another_plan_lies_over_what_nobody_chose_in_a_saved_file(tmp_path: Path):
    saved = tmp_path / "config.toml"
    saved.write_text(render(resolve({"plan": "paper", "epochs": 7, "note": "Mine."})))
    same = resolve({}, saved)
    assert (same.plan, same.epochs, same.batch_size) == ("paper", 7, 64)
    other = resolve({"plan": "sound"}, saved)
    assert (other.epochs, other.note) == (7, "Mine."), "chosen by hand"
    assert (other.split, other.folds, other.batch_size) == ("subject", 5, Settings().batch_size)


def test_the_quirk_of_the_split_takes_the_place_of_a_plans_split():
    assert resolve({"plan": "sound"}).split == "subject"
    assert resolve({"plan": "sound", "quirks": "image_split"}).split == "auto"
    assert resolve({"plan": "sound", "quirks": "image_split", "split": "subject"}).split == (
        "subject"
    ), "setup refuses what was asked for twice"
