"""Finds faces with CenterFace, a small network that gives boxes and five points of each face."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ferfusion.errors import WeightsError
from ferfusion.imaging.warping import warp

POINTS = ("eye on the left", "eye on the right", "nose", "mouth on the left", "mouth on the right")
"""The five points, left and right as the viewer sees them."""

_OUTPUTS = ("537", "538", "539", "540")
_STRIDE = 4
_MULTIPLE = 32
_SURE = 0.4
_OVERLAP = 0.3
_GREY = (114, 114, 114)

_USUAL_POINTS = np.array([(-0.5, -0.5), (0.5, -0.5), (0, 0.04), (-0.41, 0.48), (0.41, 0.48)])
_CLOSE_PX = 192
_CLOSELY = 4  # faces of a picture: of more nobody knows who is meant
_LEVEL_DEG = 8.0
_STRAINED = 0.25
_DOUBTED = 0.6


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture, in its pixels.

    Attributes:
        left: Of the box, which may reach out of the picture.
        top: Likewise.
        width: Of the box.
        height: From forehead to chin.
        points: x and y of `POINTS`.
        score: How sure the detector is, 0 to 1.
    """

    left: float
    top: float
    width: float
    height: float
    points: Float[np.ndarray, "5 2"]
    score: float

    @property
    def middle(self) -> Float[np.ndarray, " 2"]:
        """X and y of the middle of the box."""
        return np.array([self.left + self.width / 2, self.top + self.height / 2])

    @property
    def roll_deg(self) -> float:
        """How far the line between the eyes is turned clockwise."""
        across, down = self.points[1] - self.points[0]
        return float(np.degrees(np.arctan2(down, across)))

    @property
    def is_strained(self) -> bool:
        """Whether the points don't lie as in a face, so that nothing should be built on them."""
        return self.strain > _STRAINED

    @property
    def strain(self) -> float:
        """How far the points are from lying as in a face, however turned, from 0 to 1."""
        # As complex numbers: a turn with a change of size is one factor, given by least squares.
        points, usual = ((p - p.mean(axis=0)) @ (1, 1j) for p in (self.points, _USUAL_POINTS))
        factor = np.vdot(usual, points) / np.vdot(usual, usual)
        return float(np.linalg.norm(points - factor * usual) / max(np.linalg.norm(points), 1e-9))

    def mixed(self, other: "Face", share: float) -> "Face":
        """Gives a face between this one (share 0) and another (share 1)."""
        own = 1 - share
        return Face(
            own * self.left + share * other.left,
            own * self.top + share * other.top,
            own * self.width + share * other.width,
            own * self.height + share * other.height,
            own * self.points + share * other.points,
            own * self.score + share * other.score,
        )

    def overlap(self, other: "Face") -> float:
        """Gives how much of both boxes together the two have in common, 0 to 1."""
        right, others_right = self.left + self.width, other.left + other.width
        bottom, others_bottom = self.top + self.height, other.top + other.height
        across = max(0.0, min(right, others_right) - max(self.left, other.left))
        down = max(0.0, min(bottom, others_bottom) - max(self.top, other.top))
        both = across * down
        return both / (self.width * self.height + other.width * other.height - both)

    def moved(self, matrix: Float[np.ndarray, "2 3"]) -> "Face":
        """Gives the face as another picture shows it, whose points lie where `matrix` says."""
        linear, shift = matrix[:, :2], matrix[:, 2]
        scale = float(np.sqrt(abs(np.linalg.det(linear))))
        middle = linear @ (self.left + self.width / 2, self.top + self.height / 2) + shift
        width, height = self.width * scale, self.height * scale
        return replace(
            self,
            left=float(middle[0] - width / 2),
            top=float(middle[1] - height / 2),
            width=width,
            height=height,
            points=self.points @ linear.T + shift,
        )


@dataclass(frozen=True)
class _Look:
    """One way to look at a picture, from the usual to the desperate.

    Attributes:
        longer_px: The picture is brought to this size first.
        margin: Grey around it, in parts of its longer side: faces that fill it are found so.
        evens: Whether light and contrast are evened out.
        turn_deg: Clockwise.
    """

    longer_px: int
    margin: float
    evens: bool
    turn_deg: float = 0.0


_LOOKS = (
    (_Look(480, 0.5, evens=True),),
    (_Look(960, 0.1, evens=True), _Look(640, 0.25, evens=False)),
    tuple(_Look(480, 0.5, evens=True, turn_deg=turn) for turn in (40, -40, 180)),
)
"""Tried group by group until one finds a face."""


class FaceDetector:
    """Finds faces; one for each thread.

    Source:
        CenterFace: Xu, Yan, Yang and Luo 2020, Scientific Programming 7845384. How a picture is
        evened out and padded is ours; see experiments/faces.py.
    """

    def __init__(self, weights: Path) -> None:
        """Reads the weights that `weights.find_weights` or `fetch_weights` gave."""
        try:
            self._net = cv2.dnn.readNetFromONNX(np.fromfile(weights, np.uint8))
        except cv2.error as error:
            raise WeightsError(
                f"{weights} can't be read as a network: remove it, and it is fetched again."
            ) from error

    def find(self, picture: UInt8[np.ndarray, "height width 3"]) -> list[Face]:
        """Gives all faces, the surest first.

        Args:
            picture: RGB, visible light or false colours of heat.
        """
        for looks in _LOOKS:
            faces = _drop_overlaps([face for look in looks for face in self._look(picture, look)])
            if faces:
                closely = [self._look_closely(picture, face) for face in faces[:_CLOSELY]]
                return _drop_overlaps([*closely, *faces[_CLOSELY:]])
        return []

    def _look_closely(self, picture: UInt8[np.ndarray, "height width 3"], face: Face) -> Face:
        """Gives a face that is turned or doubtful as it is seen once the picture is turned back.

        The network was made for upright faces. Of others its points lean towards upright ones, or
        are nowhere near. Seen upright, the score rises and the points lie as in a face.
        """
        is_sound = face.score > _DOUBTED and not face.is_strained
        if is_sound and abs(face.roll_deg) < _LEVEL_DEG:
            return face
        seen = [face]
        for turn in (face.roll_deg, *(() if is_sound else (0.0, 90.0, 180.0, -90.0))):
            seen += self._look_around(picture, face, turn)
        best = max(seen, key=_rate)
        return max([best, *self._look_around(picture, best, best.roll_deg)], key=_rate)

    def _look_around(
        self, picture: UInt8[np.ndarray, "height width 3"], face: Face, turn_deg: float
    ) -> list[Face]:
        """Looks at the surroundings of one face, turned back by `turn_deg`."""
        middle = face.middle
        factor = _CLOSE_PX / (2 * max(face.width, face.height))
        turn = cv2.getRotationMatrix2D(middle.tolist(), turn_deg, factor)
        turn[:, 2] += (_CLOSE_PX - 1) / 2 - middle
        board = even_out(warp(picture, turn, _CLOSE_PX, _CLOSE_PX, outside=_GREY))
        home = cv2.invertAffineTransform(turn)
        found = (near.moved(home) for near in self._ask(board))
        return [f for f in found if np.linalg.norm(f.middle - middle) < face.width / 2]

    def _look(self, picture: UInt8[np.ndarray, "height width 3"], look: _Look) -> list[Face]:
        height, width = picture.shape[:2]
        seen = even_out(picture) if look.evens else picture
        longer = (1 + 2 * look.margin) * max(height, width)
        factor = look.longer_px / longer
        side_x = _round_up(factor * (width + 2 * look.margin * max(height, width)))
        side_y = _round_up(factor * (height + 2 * look.margin * max(height, width)))
        # One warp does all: shrinks, turns, and leaves grey around.
        turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -look.turn_deg, factor)
        turn[:, 2] += ((side_x - width) / 2, (side_y - height) / 2)
        board = warp(seen, turn, side_x, side_y, outside=_GREY)
        home = cv2.invertAffineTransform(turn)
        return [face.moved(home) for face in self._ask(board)]

    def _ask(self, board: UInt8[np.ndarray, "height width 3"]) -> list[Face]:
        """Gives the faces on a board whose sides are multiples of 32 pixels."""
        self._net.setInput(cv2.dnn.blobFromImage(board))
        return _decode(*self._net.forward(_OUTPUTS))


def even_out(
    picture: UInt8[np.ndarray, "height width 3"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Gives a grey picture with the darkness lifted and local contrast evened.

    For the detector only: it finds twice as many faces in the dark so, and faces in false colours.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    low, high = np.percentile(grey, (1, 99))
    share = np.arange(256, dtype=np.float32)
    share = np.clip((share - low) / max(high - low, 4.0), 0, 1)
    middle = float(np.clip((np.median(grey) - low) / max(high - low, 4.0), 0.02, 0.9))
    if middle < 0.4:
        share **= np.log(0.45) / np.log(middle)
    lifted = cv2.LUT(grey, np.rint(share * 255).astype(np.uint8))
    evened = cv2.createCLAHE(3.0, (4, 4)).apply(lifted)
    return cv2.merge((evened, evened, evened))


def _rate(face: Face) -> float:
    return face.score - face.strain


def _decode(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray
) -> list[Face]:
    """Reads the network's four maps, each cell of which stands for 4 x 4 pixels."""
    rows, columns = np.nonzero(heat[0, 0] > _SURE)
    faces: list[Face] = []
    for row, column in zip(rows, columns, strict=True):
        height, width = np.exp(sizes[0, :, row, column]) * _STRIDE
        down, across = offsets[0, :, row, column]
        left = (column + across + 0.5) * _STRIDE - width / 2
        top = (row + down + 0.5) * _STRIDE - height / 2
        y, x = points[0, :, row, column].reshape(5, 2).T
        faces.append(
            Face(
                float(left), float(top), float(width), float(height),
                np.stack((left + x * width, top + y * height), axis=1).astype(np.float64),
                float(heat[0, 0, row, column]),
            )
        )  # fmt: skip
    return _drop_overlaps(faces)


def _drop_overlaps(faces: Sequence[Face]) -> list[Face]:
    """Keeps the surest of faces that lie on each other, the surest first."""
    if not faces:
        return []
    boxes = [(f.left, f.top, f.width, f.height) for f in faces]
    kept = cv2.dnn.NMSBoxes(boxes, [f.score for f in faces], 0.0, _OVERLAP)
    return sorted((faces[int(i)] for i in np.ravel(kept)), key=lambda face: -face.score)


def _round_up(length: float) -> int:
    return max(_MULTIPLE, int(np.ceil(length / _MULTIPLE)) * _MULTIPLE)
