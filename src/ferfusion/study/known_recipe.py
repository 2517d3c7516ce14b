"""What is known of how a row of the paper was made, fact by fact."""

from collections.abc import Sequence

from ferfusion.expression import NVIE, VIRI
from ferfusion.study.published import Mark

Fact = tuple[str, str, Mark]
"""What, its value, and where that stands. `follow-up`: in the later paper's code; that the paper
did the same is an inference."""

_LATE_WEIGHTS = {
    "late-visible-infrared": ".7 visible, .3 infrared",
    "late-visible-msx": ".5 visible, .5 MSX",
    "late-visible-infrared-msx": ".5 visible, .2 infrared, .3 MSX",
}


def describe_known_recipe(row_name: str, backbone: str, labels: Sequence[str]) -> tuple[Fact, ...]:
    """Lists what is known of the recipe behind a published row.

    >>> [fact for fact in describe_known_recipe("visible", "resnet18", VIRI) if "epochs" in fact]
    [('epochs', '100', 'paper')]

    Returns:
        Nothing for data sets, backbones and rows that neither paper has.
    """
    known = tuple(labels)
    if known not in (VIRI, NVIE) or (known == NVIE and "msx" in row_name):
        return ()
    if row_name.startswith("alexnet-svm") and backbone == "alexnet" and known == VIRI:
        return _ALEXNET_SVM
    if row_name.startswith("regions-svm") and backbone == "none" and known == NVIE:
        return _REGIONS_SVM
    if "svm" in row_name or backbone not in _WIDTHS:
        return ()
    has_attention = row_name.startswith("attention-")
    if has_attention and (backbone != "resnet18" or "msx" in row_name):
        return ()
    facts: list[Fact] = [*_describe_data(known), *_INPUT]
    words = row_name.removeprefix("attention-").split("-")
    if words[0] == "late":
        return (*facts, *_describe_late(row_name))
    if words[0] == "early":
        facts += _describe_early(words, backbone)
    else:
        facts += [
            *_describe_head(words[0], _WIDTHS[backbone]),
            ("first weights", "ImageNet", "follow-up"),
        ]
    if backbone != "resnet18":
        facts.append(("heads", "the same output layers as ResNet-18's", "paper"))
    if has_attention:
        squared = "x * sigmoid(W x^2)" if words[0] == "infrared" else "x * sigmoid(W x)"
        gate = squared if words[0] != "early" else "one in each branch"
        facts.append(("attention", f"channel gate: {gate}", "follow-up"))
    return (*facts, *_describe_training(words, known, has_attention=has_attention))


_WIDTHS = {
    "resnet18": "512",
    "vgg16": "4096 or 25088",
    "shufflenet_v2": "1024",
    "mobilenet_v2": "1280",
    "ghostnet": "1280",
}

_INPUT: tuple[Fact, ...] = (
    ("size", "224 x 224, squeezed, RGB", "follow-up"),
    ("normalisation", "none: values from 0 to 1", "follow-up"),
    ("face crop", "none", "follow-up"),
    ("augmentation", "26 of each training image: 5 rotated, 5 zoomed, 5 distorted, 5 sheared, "
     "6 flipped", "paper"),
    ("of these 26", "the sixth flip is the original", "inferred"),
    ("ranges", "rotation 20 degrees, zoom out to 1.5, perspective .5, affine 20 degrees with shear "
     "0.2 degrees", "follow-up"),
    ("distinct", "22 of 26: the five flips are one picture", "inferred"),
    ("modalities", "augmented apart, so that a pair no longer fits together", "follow-up"),
    ("pairs", "by the order of the listing", "follow-up"),
)  # fmt: skip

_ALEXNET_SVM: tuple[Fact, ...] = (
    ("features", "AlexNet, transferred", "paper"),
    ("classifier", "support vector machine", "abstract"),
    ("fusion", "features joined", "abstract"),
    ("split", "unknown; the three numbers were not measured on one test set", "inferred"),
)

_REGIONS_SVM: tuple[Fact, ...] = (
    ("visible features", "active appearance model and head motion", "abstract"),
    ("infrared features", "thermal statistics", "abstract"),
    ("selection of features", "F-test", "abstract"),
    ("classifier", "Bayesian network and support vector machine", "abstract"),
    ("fusion", "of features and of decisions", "abstract"),
    ("samples", "518 of 123 people, spontaneous", "paper"),
    ("split", "unknown", "inferred"),
)


def _describe_data(labels: tuple[str, ...]) -> tuple[Fact, ...]:
    split: Fact = ("split", "by image in each class: 70 % train, 15 % val, the rest test", "paper")
    if labels == VIRI:
        return (
            split,
            ("samples", "566 of 110 people", "paper"),
            ("parts", "393 train (10218 augmented), 83 val, 90 test", "inferred"),
            ("people", "about 99 % of test faces have the same person in train", "inferred"),
        )
    return (
        split,
        ("samples", "518 of 123 people, spontaneous, chosen by three rules", "paper"),
        ("parts", "unknown: no share of 518 gives the printed numbers", "inferred"),
        ("frames", "several of one clip, probably on both sides of the split", "inferred"),
    )


def _describe_head(modality: str, width: str) -> list[Fact]:
    if modality == "infrared":
        return [
            ("head", "three dropouts, two activations, a batch norm, three FC, softmax", "paper"),
            ("dropout", f".7 and .8; the layers are {width}, 256, classes", "follow-up"),
            ("third dropout and layer", ".5 and 128, a guess", "inferred"),
        ]
    # The later code has ResNet-18 only; of the others the width is the trunk's.
    is_seen = modality == "visible" and width == "512"
    mark: Mark = "follow-up" if is_seen else "inferred"
    return [
        ("head", "two dropouts, two FC, softmax", "paper"),
        ("dropout", f".4 and .4; the layers are {width}, 256, classes", mark),
    ]


def _describe_early(words: Sequence[str], backbone: str) -> list[Fact]:
    n = len(words) - 2
    from_singles = words[-1] == "3step"
    start = "the trained single models" if from_singles else "ImageNet"
    return [
        ("fusion", "features before the last FC joined, ReLU, softmax", "paper"),
        ("joined features", f"{n} times {_WIDTHS[backbone]}: whole heads left out, one FC after "
         "ReLU", "follow-up" if n == 2 and backbone == "resnet18" else "inferred"),
        ("first weights", start, "paper"),
        ("trained in the last step", "all weights", "follow-up"),
    ]  # fmt: skip


def _describe_late(row_name: str) -> list[Fact]:
    facts: list[Fact] = [
        ("fusion", "weighted sum of the outputs of the trained single models", "paper"),
        ("choice of weights", "on validation, in steps of .1", "paper"),
        ("outputs", "softmax probabilities of models trained with a second softmax", "inferred"),
        ("ties of weights", "no rule is given", "inferred"),
    ]
    if weights := _LATE_WEIGHTS.get(row_name):
        facts.append(("weights", weights, "paper"))
    return facts


def _describe_training(
    words: Sequence[str], labels: tuple[str, ...], *, has_attention: bool
) -> list[Fact]:
    is_early = words[0] == "early"
    if has_attention:
        schedule: tuple[Fact, ...] = (
            ("epochs", "150" if is_early else "50", "follow-up"),
            ("schedule", "CosineAnnealingLR(T_max=3), stepped twice an epoch", "follow-up"),
        )
    elif is_early and labels == NVIE:
        schedule = (("epochs", "100", "paper"), ("schedule", "CosineAnnealingLR", "paper"))
    else:
        schedule = (
            ("epochs", "100", "paper"),
            ("schedule", "ReduceLROnPlateau", "paper"),
            ("plateau", "of validation accuracy, patience 3", "follow-up"),
        )
    return [
        ("loss", "cross-entropy", "paper"),
        ("before the loss", "softmax inside the model, so the loss takes it twice", "follow-up"),
        *schedule,
        ("optimiser", "Adam, 1e-3 (the paper's Table 2 is a picture)", "follow-up"),
        ("batch", "64 in training, 8 in validation (likewise)", "follow-up"),
        ("kept epoch", "the last with the best validation accuracy", "follow-up"),
        ("tested epoch", "another than the kept one, in two of the stored runs", "follow-up"),
        ("repeats", "one training", "inferred"),
    ]
