"""What the API's answers hold, as /openapi.json and /docs describe them."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from ferfusion.modality import MODALITIES, Modality
from ferfusion.serving.uploads import TYPES


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="One sentence: what happened, and what to do.")


class Said(BaseModel):
    """What the model says."""

    label: str = Field(description="The most probable class, also where it would rather not say.")
    probabilities: dict[str, float] = Field(description="Calibrated, one a class; they sum to 1.")
    abstained: bool = Field(description="Whether it would rather not say, being too unsure.")


class Box(BaseModel):
    """A face, in pixels of the first picture: visible, else infrared. May reach out of it."""

    left: float
    top: float
    width: float
    height: float


class Answer(Said):
    """The answer about one sample."""

    face: Box | None = Field(description="Where it was found; null if nobody asked for it.")

    model: str = Field(description="Name of the model.")
    milliseconds: float = Field(description="From the head of the request to the answer.")


class Moved(BaseModel):
    """How the infrared picture was found to lie on the visible one."""

    quality: float = Field(description="How likely it lies right, 0 to 1.")
    passed: bool = Field(description="Whether that is good enough.")
    shift_percent: float = Field(description="How far it was moved, in % of the width.")
    scale: float
    angle_deg: float


class Aligned(BaseModel):
    """The infrared picture laid on the visible one, for the eye."""

    visible: str = Field(description="Picture, as a data address.")
    infrared: str = Field(description="Picture of the same size, as a data address.")
    found: Moved | None = Field(description="null where they were laid on each other to be cut.")


class Heat(BaseModel):
    """Where hiding a patch of a picture lowers the probability of the label."""

    picture: str = Field(description="The map over the picture, as a data address.")
    strongest: float = Field(description="What hiding the worst patch takes off the probability.")


class Explanation(Answer):
    """The answer, and what it rests on."""

    aligned: Aligned | None = Field(description="Where there is a visible and an infrared one.")
    pictures: dict[str, str] = Field(description="By modality, as data addresses.")
    heat: dict[str, Heat | None] = Field(description="By modality; null where time ran out.")
    without: dict[str, Said] = Field(description="By the modality that was hidden.")


class Health(BaseModel):
    """The server is up."""

    status: str


class Measured(BaseModel):
    """A count on the test part, and the 95 % interval of its rate."""

    correct: int
    n: int
    low: float
    high: float


class Model(BaseModel):
    """What there is to know of the model."""

    name: str
    labels: list[str]
    modalities: list[Modality]
    size_px: int
    takes_temperatures: bool
    backbone: str
    fusion: str
    precision: str
    least_confidence: float
    accuracy: Measured | None
    trained_on: list[str]
    responsible_use: list[str]
    finds_faces: bool = Field(description="Whether `find_face` may be asked for.")
    limits: dict[str, float]


def describe_form(modalities: Sequence[Modality]) -> dict[str, Any]:
    """Gives what OpenAPI says of a request with a file for each of these."""
    fields = MODALITIES if Modality.MSX in modalities else modalities
    files = {
        str(m): {"type": "string", "format": "binary", "description": f"The {m} picture."}
        for m in fields
    }
    encoding = {str(m): {"contentType": ", ".join(TYPES)} for m in fields}
    schema = {
        "type": "object",
        "properties": files,
        # An MSX-style picture is made where visible and infrared are sent instead.
        "required": [] if Modality.MSX in modalities else list(files),
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": schema, "encoding": encoding}}
    return {"requestBody": {"required": True, "content": content}}
