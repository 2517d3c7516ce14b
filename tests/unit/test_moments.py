from pathlib import Path

from ferfusion.data.links import LinkCollector
from ferfusion.data.moments import find_by_name
from ferfusion.modality import MODALITIES, Modality
from ferfusion.sample import ImageFile, Sample

ROOT = Path("faces")


def sample(name: str, expression: str, subject: str | None = None, **files: str) -> Sample:
    images = {Modality(m): ImageFile(ROOT / file) for m, file in files.items()}
    return Sample(name, expression, subject, images)


def pairs(*samples: Sample) -> set[tuple[str, str]]:
    found = LinkCollector()
    find_by_name(samples, MODALITIES, ROOT, found)
    assert {link.kind for link in found.links()} <= {"across modalities"}
    return {(link.first, link.second) for link in found.links()}


def test_a_telling_name_joins_what_is_claimed_to_be_two_moments() -> None:
    a = sample("a", "happy", "anna", visible="vis/walk17_vis.png")
    b = sample("b", "sad", "ben", infrared="x/walk17_ir.png")
    assert pairs(a, b) == {("a", "b")}
    # Twice in one modality, the name says nothing.
    again = sample("c", "sad", "carl", infrared="y/walk17_ir.png")
    assert pairs(a, b, again) == set()
    # Where the other has the modality too, it is another moment.
    whole = sample("b", "sad", "ben", infrared="x/walk17_ir.png", visible="x/other3_vis.png")
    assert pairs(a, whole) == set()


def test_a_counter_joins_nothing_across_folders() -> None:
    a = sample("a", "happy", "anna", visible="one/happy/IMG_0001.jpg")
    b = sample("b", "sad", "ben", infrared="two/sad/IMG_0001.jpg")
    assert pairs(a, b) == set()


def test_a_counter_joins_where_others_show_that_both_cameras_share_it() -> None:
    whole = [
        sample(f"w{n}", "sad", None, visible=f"p/v/{n:04}.jpg", infrared=f"q/t/{n:04}.jpg")
        for n in range(10, 20)
    ]
    a = sample("a", "happy", "anna", visible="p/v/0001.jpg")
    b = sample("b", "sad", "ben", infrared="q/t/0001.jpg")
    assert pairs(a, b) == set()
    assert pairs(a, b, *whole) == {("a", "b")}


def test_the_same_folder_but_for_the_word_of_the_modality() -> None:
    samples = [
        sample(f"{m}{clip}", label, None, **{m: f"{word}/clip{clip}/000.png"})
        for m, word, label in (("visible", "Vis", "happy"), ("infrared", "thermal", "sad"))
        for clip in (1, 2)
    ]
    assert pairs(*samples) == {("infrared1", "visible1"), ("infrared2", "visible2")}


def test_one_picture_called_1_per_person_and_expression_joins_nobody() -> None:
    samples = [
        sample(f"{who}-{e}-{m}", e, who, **{m: f"{who}/{e}/{m}/1.jpg"})
        for who in ("anna", "ben", "carl")
        for e in ("happy", "sad")
        for m in ("visible", "infrared")
    ]
    assert pairs(*samples) == {
        (f"{who}-{e}-infrared", f"{who}-{e}-visible")
        for who in ("anna", "ben", "carl")
        for e in ("happy", "sad")
    }
