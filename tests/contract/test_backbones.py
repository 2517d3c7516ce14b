"""What every trunk must fulfil, whichever library it comes from; no test here needs a network."""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision.models as tv
from safetensors.torch import load_file, save_file
from torch import nn

from ferfusion.errors import ConfigError, WeightsError
from ferfusion.modality import MODALITIES, Modality
from ferfusion.models import backbones
from ferfusion.models.backbones import BACKBONES, build_trunk, extract_features, find_backbone
from ferfusion.models.blueprint import Blueprint, assemble, count_parameters
from ferfusion.models.heads import build_fused_head, build_head

V, IR, M = MODALITIES
LITE = "tf_efficientnet_lite0"
NAMES = [*BACKBONES, LITE]
# 138 and 61 million weights: seconds to draw, and gigabytes with gradients.
BIG = ("vgg16", "alexnet")
SLOWLY = [pytest.param(n, marks=pytest.mark.slow) if n in BIG else n for n in NAMES]
WHOLE: dict[str, Callable[[], nn.Module]] = {
    "resnet18": tv.resnet18,
    "shufflenet_v2": tv.shufflenet_v2_x1_0,
    "mobilenet_v2": tv.mobilenet_v2,
    "ghostnet": lambda: timm.create_model("ghostnet_100"),
    LITE: lambda: timm.create_model(LITE),
}
REAL = Path(__file__).parents[3] / "shared" / "weights"
REAL_FILES = {
    "mobilenet_v2": "mobilenet_v2-imagenet-trunk.safetensors",
    LITE: "tf_efficientnet_lite0-imagenet.safetensors",
}


def give_features(trunk: nn.Module, size_px: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return extract_features(
            trunk.eval(), torch.randn(2, 3, size_px, size_px, generator=generator)
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size_px", [64, 96])
def test_declared_width_is_the_features_width(name: str, size_px: int) -> None:
    backbone = find_backbone(name)
    with torch.device("meta"):
        features = extract_features(backbone.build(), torch.empty(2, 3, size_px, size_px))
    assert features.shape == (2, backbone.width)
    assert backbone.name == name


@pytest.mark.parametrize("name", SLOWLY)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    trunk = find_backbone(name).build().train()
    features = extract_features(trunk, torch.randn(2, 3, 64, 64))
    # Not a plain sum: after a norm that is a constant.
    (features * torch.randn_like(features)).sum().backward()
    without = [n for n, p in trunk.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert all(p.grad.isfinite().all() for p in trunk.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", 11_176_512),
        ("vgg16", 134_260_544),
        ("shufflenet_v2", 1_253_604),
        ("mobilenet_v2", 2_223_872),
        ("ghostnet", 3_901_508),
        ("alexnet", 57_003_840),
        (LITE, 3_371_008),
    ],
)
def test_parameters_of_a_trunk(name: str, expected: int) -> None:
    with torch.device("meta"):
        assert count_parameters(find_backbone(name).build()) == expected


def test_parameters_of_the_papers_heads() -> None:
    assert count_parameters(build_head(V, 512, 5, 1.0)) == 132_613
    assert count_parameters(build_head(M, 512, 5, 1.0)) == 132_613
    hidden = 512 * 256 + 256 + 2 * 256 + 256 * 128 + 128 + 128 * 5 + 5
    assert count_parameters(build_head(IR, 512, 5, 1.0)) == hidden
    assert count_parameters(build_fused_head(3 * 512, 5)) == 3 * 512 * 5 + 5


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_dropout_is_a_factor_on_the_papers_rates(modality: Modality, factor: float) -> None:
    rates = [m.p for m in build_head(modality, 8, 3, factor).modules() if isinstance(m, nn.Dropout)]
    papers = [0.7, 0.8, 0.5] if modality is IR else [0.4, 0.4]
    assert rates == pytest.approx([factor * rate for rate in papers])


@pytest.mark.parametrize("fusion", ["single", "early"])
def test_heads_can_be_taken_off(fusion) -> None:
    modalities = (V,) if fusion == "single" else MODALITIES
    model = assemble(Blueprint(fusion, "shufflenet_v2", modalities, ("happy", "sad"))).eval()
    pictures = {m: torch.randn(3, 3, 64, 64) for m in modalities}
    with torch.no_grad():
        features, logits = model.features(pictures), model(pictures)
        assert logits.shape == (3, 2)
        assert torch.equal(model.head(features), logits)
        assert features.shape == (3, 1024 * len(modalities))
        for place, modality in enumerate(modalities):
            alone = extract_features(model.trunks[str(modality)], pictures[modality])
            assert torch.equal(features[:, 1024 * place : 1024 * (place + 1)], alone)
        model.head = nn.Identity()
        assert torch.equal(model(pictures), features)


def test_every_parameter_of_a_fused_model_learns() -> None:
    torch.manual_seed(0)
    model = assemble(Blueprint("early", "shufflenet_v2", MODALITIES, ("happy", "sad"))).train()
    logits = model({m: torch.randn(2, 3, 64, 64) for m in MODALITIES})
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


# ---------------------------------------------------------------------------------------- weights


def write_weights(path: Path, whole: nn.Module, how: str) -> Path:
    state = whole.state_dict()
    if how == "safetensors":
        save_file(state, path := path.with_suffix(".safetensors"))
    elif how == "wrapped":
        torch.save({"state_dict": OrderedDict(state), "epoch": 3}, path)
    elif how == "old":
        torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("how", ["safetensors", "pth"])
def test_file_with_the_classifier_gives_its_features(name: str, how: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    whole = WHOLE[name]().train()
    with torch.no_grad():
        whole(torch.randn(4, 3, 64, 64))  # moves the norms' statistics
    path = write_weights(tmp_path / "w.pth", whole, how)
    backbone = find_backbone(name)
    trunk = build_trunk(backbone, str(path))
    for dropped in backbone.dropped:
        whole.set_submodule(dropped, nn.Identity())
    assert torch.equal(give_features(trunk), give_features(whole))
    assert not torch.equal(give_features(trunk), give_features(build_trunk(backbone, "none")))


@pytest.mark.parametrize("how", ["wrapped", "old"])
def test_other_ways_of_keeping_a_state(how: str, tmp_path: Path) -> None:
    whole = tv.shufflenet_v2_x1_0()
    path = write_weights(tmp_path / "w.pth", whole, how)
    trunk = build_trunk(find_backbone("shufflenet_v2"), str(path))
    assert torch.equal(trunk.conv1[0].weight, whole.conv1[0].weight)


def refuse(weights: Path, backbone: str = "mobilenet_v2") -> str:
    with pytest.raises(WeightsError) as caught:
        build_trunk(find_backbone(backbone), str(weights))
    return str(caught.value)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.pth", tv.shufflenet_v2_x1_0(), "pth")
    said = refuse(path)
    assert "don't fit mobilenet_v2" in said
    assert str(path) in said


def test_misshapen_and_missing_tensors_are_refused(tmp_path: Path) -> None:
    state = tv.mobilenet_v2().state_dict()
    save_file(
        {**state, "features.0.0.weight": torch.zeros(32, 1, 3, 3)}, tmp_path / "a.safetensors"
    )
    assert "1 have another shape" in refuse(tmp_path / "a.safetensors")
    del state["features.0.0.weight"]
    save_file(state, tmp_path / "b.safetensors")
    assert "1 tensors are missing" in refuse(tmp_path / "b.safetensors")
    assert "features.0.0.weight" in refuse(tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\3\4 neither"])
def test_files_that_hold_no_weights_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert str(path) in refuse(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pth", tmp_path):
        assert "There is no weights file" in refuse(path)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("old_style", [False, True])
def test_code_in_a_file_is_never_run(old_style: bool, tmp_path: Path) -> None:
    path, witness = tmp_path / "w.pth", tmp_path / "boom"
    content = {"conv1.weight": Bomb(witness)}
    if old_style:
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    assert "could run code" in refuse(path)
    assert not witness.exists()


def test_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(tv.mobilenet_v2(), tmp_path / "w.pth")
    assert ".safetensors" in refuse(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "content", [torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {}, {"features.0.0.weight": 3}]
)
def test_tensors_without_names_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert "don't fit" in refuse(tmp_path / "w.pth")


# ------------------------------------------------------------------------------------------- hubs


def assert_names_two_ways_out(error: WeightsError, name: str) -> None:
    assert f"--weights {name}=FILE" in str(error)
    assert "--weights none" in str(error)
    assert "could not be fetched" in str(error)


def cut_off(*arguments: object, **named: object) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize("name", [n for n in BACKBONES if n not in (*BIG, "ghostnet")])
def test_unreachable_hub_of_torchvision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", cut_off)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone = find_backbone(name)
    assert backbone.local_file() is None
    with pytest.raises(WeightsError) as caught:
        build_trunk(backbone, "imagenet")
    assert_names_two_ways_out(caught.value, name)


@pytest.mark.parametrize("name", ["ghostnet", LITE])
def test_unreachable_hub_of_timm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "urlopen", cut_off)
    monkeypatch.setattr(backbones, "_find_timm_file", lambda _: None)
    with pytest.raises(WeightsError) as caught:
        build_trunk(find_backbone(name), "imagenet")
    assert_names_two_ways_out(caught.value, name)


@pytest.mark.parametrize("name", ["shufflenet_v2", "ghostnet"])
def test_fetched_weights_end_up_in_the_trunk(name: str) -> None:
    whole = WHOLE[name]()
    trunk = build_trunk(replace(find_backbone(name), fetch=whole.state_dict), "imagenet")
    state = whole.state_dict()
    assert all(torch.equal(tensor, state[k]) for k, tensor in trunk.state_dict().items())


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_weights_load(name: str) -> None:
    path = REAL / REAL_FILES[name]
    if not path.exists():
        pytest.skip(f"{path} is not here; it isn't ours to ship")
    trunk = build_trunk(find_backbone(name), str(path))
    state = load_file(path)
    for key, tensor in trunk.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, state[key]), key
    assert give_features(trunk, 128).isfinite().all()


def test_timm_models_bring_their_own_mean_and_deviation() -> None:
    lite = find_backbone(LITE)
    assert (lite.mean, lite.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert find_backbone("ghostnet").mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet-18", "resnet18"), ("mobilnet_v2", "mobilenet_v2")]
)
def test_misspelt_backbone_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{hint}'"):
        find_backbone(name)
