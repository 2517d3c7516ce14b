from dataclasses import replace

import pytest

from ferfusion.errors import ConfigError
from ferfusion.training.recipe import QUIRKS, Recipe


def test_no_quirk_by_default() -> None:
    assert Recipe().quirks == ()


def test_quirks_are_sorted_and_each_is_there_once() -> None:
    one = Recipe(quirks=("no_normalisation", "double_softmax", "no_normalisation"))
    assert one.quirks == ("double_softmax", "no_normalisation")
    assert one == replace(Recipe(), quirks=("double_softmax", "no_normalisation"))
    assert hash(one) == hash(replace(one, quirks=tuple(reversed(one.quirks))))


def test_unknown_quirk_is_refused_and_the_nearest_named() -> None:
    with pytest.raises(ConfigError, match=r"no quirk 'double-softmax'.*mean 'double_softmax'"):
        Recipe(quirks=("double-softmax",))


def test_every_quirk_is_described_in_one_sentence() -> None:
    for name, sentence in QUIRKS.items():
        assert name.isidentifier()
        assert sentence.endswith(".")
        assert ". " not in sentence
        assert "\n" not in sentence
    assert list(QUIRKS) == sorted(QUIRKS)
