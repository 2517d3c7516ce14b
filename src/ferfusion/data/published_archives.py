"""What `ferfusion download` may fetch, and who holds what it may not.

Only what its own authors put on the web for everybody is fetched. A copy that somebody else put
there is no licence, and what needs an agreement is left to those who signed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ferfusion.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class PublishedArchive:
    """One file as published: its name, and git's name for its bytes."""

    name: str
    git_blob: str

    @property
    def words(self) -> tuple[str, ...]:
        """What its name says, in lower case: viri, happy, vis."""
        return tuple(self.name.lower().removesuffix(".zip").split("-"))


@dataclass(frozen=True)
class PublishedData:
    """A data set that may be downloaded.

    Attributes:
        name: As people call it.
        what: What is in it.
        source: Where its owners show it.
        base_url: The files lie below it.
        archives: All of them.
        largest_mib: No file can be larger.
        citation: Whom to cite.
        terms: What is known of its terms.
        lacks: What isn't published, and what to do about it.
        page: More about it, in the documentation.
    """

    name: str
    what: str
    source: str
    base_url: str
    archives: tuple[PublishedArchive, ...]
    largest_mib: int
    citation: str
    terms: str
    lacks: str
    page: str


@dataclass(frozen=True)
class HeldData:
    """A data set that its owners give out themselves."""

    name: str
    what: str
    how: str
    page: str


VIRI = PublishedData(
    name="VIRI",
    what="visible and infrared pictures of five posed expressions, 110 people",
    source="https://github.com/naseemmuhammadtahir/VIRI-raw-data",
    base_url="https://raw.githubusercontent.com/naseemmuhammadtahir/VIRI-raw-data/main/",
    archives=(
        PublishedArchive("VIRI-Angry-Ir.zip", "f265496b2285576475a6cd55c1304447e01d69e4"),
        PublishedArchive("VIRI-Angry-Vis.zip", "f91542fdb1f3506d869947cb817d3c64523c5cb8"),
        PublishedArchive("VIRI-Happy-Ir.zip", "398f1355ef7667894b56c083eba4bd4ca92466cc"),
        PublishedArchive("VIRI-Happy-Vis.zip", "d0653c28f88a2d86283aa9791468df5cc51c4b1e"),
        PublishedArchive("VIRI-Neutral-Ir.zip", "c0d848366b0b5ba844981bdf3c9ebf678a7d6248"),
        PublishedArchive("VIRI-Neutral-Vis.zip", "a8ce692f1f59fb270f4299e13207e5601c5c334b"),
        PublishedArchive("VIRI-Sad-Ir.zip", "d39e54a970c9b72cfbe99667f02bceb3cbd22864"),
        PublishedArchive("VIRI-Sad-Vis.zip", "34eac837e42f29f794ac2dade9ddf232d2e3e572"),
        PublishedArchive("VIRI-Surprise-Ir.zip", "c0fdea04ec60b57eb7ec5c53fd964ea03d62a266"),
        PublishedArchive("VIRI-Surprise-Vis.zip", "c4f6f7215971c277259a0567d65ad718c6b51bf4"),
    ),
    # GitHub takes no larger file, and Git LFS leaves a pointer, whose checksum would be another.
    largest_mib=100,
    citation=(
        "Siddiqui, Dhakal, Yang and Javaid, Multimodal Technologies and Interaction 6(6):47, 2022; "
        "and for these archives Naseem, Lee, Shahzad, Khan, Abu-Mahfouz and Ouahada, PeerJ "
        "Computer Science 11:e2676, 2025"
    ),
    terms=(
        "none are stated there that we know of. Ask the authors before you publish or pass on "
        "any of the pictures; they show people's faces"
    ),
    lacks=(
        "The camera's MSX pictures are not published. `ferfusion msx` and `ferfusion prepare` make "
        "MSX-style ones of visible and infrared pictures, which isn't the same"
    ),
    page="docs/data/viri.md",
)

PUBLISHED = {"viri": VIRI}

HELD = {
    "nvie": HeldData(
        "USTC-NVIE",
        "visible and thermal videos of spontaneous and posed expressions, more than 100 people",
        "Its owners at the University of Science and Technology of China (nvie.ustc.edu.cn) give "
        "it for research after a signed agreement. Copies elsewhere on the web are no licence.",
        "docs/data/nvie.md",
    ),
    "ktfe": HeldData(
        "KTFE",
        "visible and thermal pictures of seven spontaneous emotions",
        "It was recorded at the Japan Advanced Institute of Science and Technology (Nguyen and "
        "Kotani). We know of no public place of its owners: ask the authors of its papers.",
        "docs/data/ktfe.md",
    ),
    "tufts": HeldData(
        "Tufts Face Database",
        "visible, thermal and other pictures of 113 people, in five poses",
        "Tufts University gives it out at tdface.ece.tufts.edu. Read its terms there before you "
        "download the sets TD_RGB_E and TD_IR_E; ferfusion reads both together.",
        "docs/data/tufts.md",
    ),
    "iris": HeldData(
        "IRIS Thermal/Visible Face Database",
        "visible and thermal pictures of about 30 people, three expressions",
        "It is data set 02 of the OTCBVS benchmark (vcipl-okstate.org/pbvs/bench). Read the terms "
        "there before you download it.",
        "docs/data/iris.md",
    ),
    "vis-th": HeldData(
        "VIS-TH",
        "visible and thermal pictures of 50 people, expressions among the variations",
        "EURECOM gives it out after a form is filled in (vis-th.eurecom.fr/contact).",
        "docs/data/vis-th.md",
    ),
    "equinox": HeldData(
        "Equinox",
        "visible and infrared pictures of faces, made by Equinox Corporation",
        "We know of no place where it is still given out.",
        "docs/data/others.md",
    ),
    "sejong": HeldData(
        "Sejong Face Database",
        "visible, infrared and thermal pictures of 100 disguised people; no expressions",
        "Its authors give it out for research after a request "
        "(github.com/usmancheema89/SejongFaceDatabase).",
        "docs/data/others.md",
    ),
    "speakingfaces": HeldData(
        "SpeakingFaces",
        "visible and thermal videos of 142 speaking people; no expressions",
        "Nazarbayev University gives it out (github.com/IS2AI/SpeakingFaces). It has 3.8 TB.",
        "docs/data/others.md",
    ),
    "tfw": HeldData(
        "TFW",
        "thermal pictures of 147 people with marked faces; no expressions",
        "Nazarbayev University gives it out (github.com/IS2AI/TFW).",
        "docs/data/others.md",
    ),
}


def choose_archives(
    archives: Sequence[PublishedArchive], only: Sequence[str]
) -> tuple[PublishedArchive, ...]:
    """Picks the archives that are asked for: all, or those with all words of one of the names.

    Raises:
        ConfigError: One of the names fits no archive.
    """
    chosen: set[str] = set()
    for name in only:
        wanted = set(PublishedArchive(name, "").words)
        fitting = {archive.name for archive in archives if wanted <= set(archive.words)}
        if not fitting:
            known = dict.fromkeys(word for archive in archives for word in archive.words)
            raise ConfigError(unknown_name("archive", name, known))
        chosen |= fitting
    return tuple(archive for archive in archives if not only or archive.name in chosen)
