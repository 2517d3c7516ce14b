"""What a card says of the people that a model learned from."""

from typing import Any

import pytest

from ferfusion.reporting.model_card import describe_licences, tell_people

KNOWN: dict[str, Any] = {"drawn": False, "shared_people": 0, "people_learned_from": 12}


@pytest.mark.parametrize(
    ("facts", "words", "never"),
    [
        ({}, "It learned from 12 people, and nobody", "drawn"),
        ({"drawn": True}, "12 training people don't exist", "It learned from"),
        ({"shared_people": 3}, "3 people are in more than one", "nobody of the test"),
        ({"people_learned_from": None}, "had lost its seen.json", "Nobody said who is who"),
        ({"people_learned_from": 0}, "Nobody said who is who", "seen.json"),
    ],
)
def test_people_are_told_as_they_are_known(facts: dict[str, Any], words: str, never: str) -> None:
    said = tell_people({**KNOWN, **facts})
    assert words in said
    assert never not in said
    assert ("age, sex and origin" in said) is not bool(facts.get("drawn"))


def test_faces_have_owners_unless_they_were_drawn() -> None:
    assert "faces have owners" in describe_licences("resnet18", "none")
    assert "nobody's" in describe_licences("resnet18", "none", is_drawn=True)
