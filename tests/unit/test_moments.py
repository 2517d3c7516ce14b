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


def whole(name: str, visible: str, infrared: str, folder: str = "f") -> Sample:
    return sample(
        name,
        "happy",
        name,
        visible=f"{folder}/vis/{visible}.png",
        infrared=f"{folder}/ir/{infrared}.png",
    )


def test_two_whole_samples_with_their_names_exchanged_are_joined() -> None:
    a, b = whole("a", "a_001", "b_002"), whole("b", "b_002", "a_001")
    assert pairs(a, b) == {("a", "b")}
    assert pairs(whole("a", "a_001", "a_001"), whole("b", "b_002", "b_002")) == set()
    # Counters exchanged may be two cameras that count apart.
    assert pairs(whole("a", "0001", "0002"), whole("b", "0002", "0001")) == set()


def test_a_camera_that_counts_ahead_of_the_other_joins_nothing() -> None:
    for name in ("IMG_{:04}", "walk{:02}"):
        samples = [whole(f"s{n}", name.format(n), name.format(n + 1)) for n in range(12)]
        assert pairs(*samples) == set()
    one_row_late = [whole(f"s{n}", f"{n:04}", f"{n + (n > 9):04}") for n in range(12)]
    assert pairs(*one_row_late) == set()


def test_a_name_that_most_samples_hold_alone_is_doubted_where_two_hold_it() -> None:
    others = [whole(f"s{n}", f"{n:04}", f"{n:04}") for n in range(20)]
    a, b = whole("a", "0051", "0052"), whole("b", "0052", "0051")
    assert pairs(a, b, *others) == {("a", "b")}
    # Three in a ring, of names that say more than a number.
    ring = [whole("a", "x51", "y52"), whole("b", "y52", "z53"), whole("c", "z53", "x51")]
    assert pairs(*ring) == set()
    assert pairs(*ring, *others) == {("a", "b"), ("b", "c"), ("a", "c")}
