"""Asks another package about faces; run by the Python that has it, without ferfusion.

    PYTHON other_packages.py NAME      the question as JSON on the standard input

The last line of the output is the answer: the package's version, its model, milliseconds a face and
faces a second, round by round; or why it could not be run. Pictures are files cut to the face, so
no package looks for one.
"""

import json
import statistics
import sys
import time
from importlib.metadata import version


def open_emotiefflib():
    """Gives the first model of its list."""
    import cv2
    from emotiefflib.facial_analysis import EmotiEffLibRecognizer, get_model_list

    name = get_model_list()[0]
    model = EmotiEffLibRecognizer(engine="onnx", model_name=name, device="cpu")

    def ask(paths):
        pictures = [cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) for path in paths]
        return model.predict_emotions(pictures, logits=False)

    return f"{name}, ONNX", ask


def open_fer():
    """Gives its one model, asked about the whole picture."""
    import cv2

    try:
        from fer import FER
    except ImportError:
        from fer.fer import FER
    model = FER()

    def ask(paths):
        answers = []
        for path in paths:
            picture = cv2.imread(path)
            whole = [(0, 0, picture.shape[1], picture.shape[0])]
            answers.append(model.detect_emotions(picture, face_rectangles=whole))
        return answers

    return "its mini-Xception", ask


def open_rmn():
    """Gives its one model."""
    import cv2
    from rmn import RMN

    model = RMN()
    return "residual masking network", lambda paths: [
        model.detect_emotion_for_single_face_image(cv2.imread(path)) for path in paths
    ]


def open_deepface():
    """Gives its emotion model, with the search for faces left out."""
    from deepface import DeepFace

    return "its emotion model", lambda paths: [
        DeepFace.analyze(path, actions=["emotion"], detector_backend="skip", silent=True)
        for path in paths
    ]


PACKAGES = {
    "emotiefflib": open_emotiefflib,
    "fer": open_fer,
    "rmn": open_rmn,
    "deepface": open_deepface,
}


def measure(ask, question):
    """Takes the times, round by round."""
    faces, latencies, rates = question["faces"], [], []
    start = time.perf_counter()
    ask(faces[:1])
    while time.perf_counter() - start < question["warm_up_s"]:
        ask(faces[:1])
    for _ in range(question["rounds"]):
        times = []
        for face in faces:
            begun = time.perf_counter()
            ask([face])
            times.append(time.perf_counter() - begun)
        latencies.append(1000 * statistics.median(times))
        begun = time.perf_counter()
        for first in range(0, len(faces), 32):
            ask(faces[first : first + 32])
        rates.append(len(faces) / (time.perf_counter() - begun))
    return {"latency_ms": latencies, "faces_per_s": rates}


def main():
    """Answers the question, or says why not."""
    name = sys.argv[1]
    question = json.load(sys.stdin)
    try:
        model, ask = PACKAGES[name]()
        told = {"version": version(name), "model": model, **measure(ask, question)}
    except BaseException as error:  # whatever it is: it stands in the table
        words = (str(error).strip().splitlines() or [""])[0][:160]
        told = {"why": f"{type(error).__name__}: {words}"}
    print()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
