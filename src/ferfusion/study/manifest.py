"""What a result was made with: software, machine, commit."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

_PACKAGES = (
    "ferfusion",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numpy",
    "opencv-python-headless",
)


def describe_versions() -> dict[str, str]:
    """Names the software and the machine, in words for people."""
    versions = {name: _find_version(name) for name in _PACKAGES}
    return {
        **versions,
        "commit": find_commit() or "not run from a git checkout",
        "python": platform.python_version(),
        "processor": f"{_name_processor()}, {torch.get_num_threads()} threads",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def find_commit() -> str | None:
    """Gives the commit that this code was run from, marked `+` if files were changed since."""
    here = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain", "--", str(here)],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")


def _find_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "run from its source, not installed"


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"
