"""`ferfusion check`: what is installed, what this machine can do, which weights are at hand."""

import importlib
import importlib.util
import os
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ferfusion.config import Settings
from ferfusion.errors import WeightsError

REQUIRED = {
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
}
"""Packages of every installation: what to import."""

TRAINING = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "lightning-fabric": "lightning_fabric",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
}
"""Packages of the extra [train]: likewise."""

OPTIONAL = {
    "captum": ("captum", "heat maps: pip install 'ferfusion[explain]'"),
    "flyr": ("flyr", "FLIR camera files: pip install 'ferfusion[thermal]' (EUPL-1.2)"),
    "onnxruntime": ("onnxruntime", "asking bundles: pip install 'ferfusion[runtime]'"),
    "openvino": ("openvino", "graphs, faster on many CPUs: pip install 'ferfusion[openvino]'"),
    "fastapi": ("fastapi", "ferfusion serve: pip install 'ferfusion[serve]'"),
    "ray": ("ray", "--ray: pip install 'ferfusion[ray]'"),
}
"""Packages of the extras: what to import, and what for."""


def run_check(settings: Settings) -> None:
    """Prints three tables: packages, devices, weights; and what the cache holds."""
    from ferfusion.data.cache_folder import find_cache_folder

    folder = find_cache_folder(Path(settings.cache) if settings.cache else None)
    console = Console(highlight=False)
    with console.status("importing everything once"):
        broken = _print_packages(console)
    if broken:
        console.print(f"\n[red]Mend it with:[/red] pip install --upgrade {' '.join(broken)}")
        raise SystemExit(2)
    if _is_here("torch"):
        _print_devices(console)
        _print_weights(console)
    else:
        _print_what_is_possible(console)
    _print_cache(settings, folder, console)


def _print_packages(console: Console) -> list[str]:
    table = Table("package", "version", "", title="Packages")
    broken: list[str] = []
    needed = {**REQUIRED, **(TRAINING if _is_here("torch") else {})}
    for package, module in needed.items():
        try:
            importlib.import_module(module)
            table.add_row(package, metadata.version(package), "[green]works[/green]")
        # A broken install fails in many ways: missing files, libraries, symbols.
        except Exception as error:
            broken.append(package)
            table.add_row(package, "", Text(f"{type(error).__name__}: {error}", "red"))
    if not _is_here("torch"):
        what_for = "training, evaluating, runs: pip install 'ferfusion[train]'"
        table.add_row("torch", "", Text(f"not installed; {what_for}"))
    for package, (module, what_for) in OPTIONAL.items():
        if not _is_here(module):
            table.add_row(package, "", Text(f"not installed; {what_for}"))
        else:
            table.add_row(package, metadata.version(package), "is there")
    console.print(table)
    return broken


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _print_what_is_possible(console: Console) -> None:
    can = "prepare pictures, read files of thermal cameras"
    if _is_here("onnxruntime"):
        can += ", and ask bundles (predict; serve with 'ferfusion[serve]')"
    console.print(
        f"This installation has no PyTorch. It can {can}. It can't train, evaluate or read runs: "
        "pip install 'ferfusion[train]'; 'ferfusion[export]' to write bundles and "
        "'ferfusion[explain]' for heat maps bring that, too.",
        markup=False,
        soft_wrap=True,
    )


def _print_devices(console: Console) -> None:
    import torch

    from ferfusion.training.machine import choose_device, cpu_has_bf16

    table = Table("device", "what", "precisions", title="Devices")
    bf16 = "fp32, bf16" if cpu_has_bf16() else "fp32 (bf16 works, but slowly)"
    table.add_row("cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}", bf16)
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            precisions = "fp32, fp16, bf16" if torch.cuda.is_bf16_supported() else "fp32, fp16"
            memory = f"{facts.total_memory / 2**30:.0f} GiB"
            table.add_row(f"cuda:{index}", f"{facts.name}, {memory}", precisions)
    else:
        table.add_row("cuda", "no GPU that torch can use", "")
    if torch.backends.mps.is_available():
        table.add_row("mps", "Apple GPU", "fp32")
    console.print(table)
    console.print(f"--device auto takes {choose_device('auto')}.\n")


def _print_weights(console: Console) -> None:
    import torch

    from ferfusion.models.backbones import BACKBONES

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    table = Table("of what", "file", title="Pretrained weights")
    missing: list[str] = []
    for name, describe in BACKBONES.items():
        file = describe().local_file()
        if file is None:
            missing.append(name)
        table.add_row(name, str(file) if file else "not here yet; fetched when first used")
    table.add_row("face detector", _find_face_weights())
    console.print(table)
    if missing:
        console.print(
            "Without internet: download a file elsewhere and pass --weights "
            f"{missing[0]}=FILE, or put torchvision's into {folder}; or --weights none."
        )


def _find_face_weights() -> str:
    from ferfusion.imaging.faces.weights import find_weights

    try:
        found = find_weights()
    except WeightsError as error:
        return f"[red]{error}[/red]"
    return str(found) if found else "not here yet; `ferfusion prepare` fetches them"


def _print_cache(settings: Settings, folder: Path, console: Console) -> None:
    from ferfusion.data.cache_folder import look_into, measure_folder, say_size

    holding = look_into(folder)
    n = len(holding.entries)
    limit = (
        f"Above {settings.cache_limit:g} GB (--cache-limit) those used longest ago are removed "
        "when a command next opens the cache"
        if settings.cache_limit
        else "Their size is not limited (--cache-limit 0)"
    )
    console.print(
        f"\nDecoded pictures: {say_size(holding.nbytes)} in {folder}, {n} "
        f"{'entry' if n == 1 else 'entries'} (one for each modality, size and data set). {limit}; "
        "--cache or FERFUSION_CACHE names another folder. They hold the faces of your data; delete "
        "the folder when you no longer need them.",
        soft_wrap=True,
    )
    if others := measure_folder(folder) - holding.nbytes:
        console.print(
            f"Other things in that folder: {say_size(others)}, such as the faces that benchmarks "
            "draw. The limit doesn't count them, and nothing removes them.",
            soft_wrap=True,
        )
