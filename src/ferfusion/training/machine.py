"""Choosing device and precision, and starting Lightning Fabric on them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from ferfusion.errors import ConfigError, unknown_name
from ferfusion.memory import keep_freed_memory
from ferfusion.models.backbones import Backbone
from ferfusion.training.recipe import Hardware, Precision

_OTHER_DEVICES = ("tpu", "xpu", "hpu")
"""Accelerators that Lightning Fabric may know; not tested by us."""
COMPILE_FROM_STEPS = 10_000
"""An estimate, not measured: compiling takes about a minute and saves 5 ms of a small step."""
_FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def cpu_has_bf16() -> bool:
    """Says whether this CPU multiplies bfloat16 in hardware (Linux; elsewhere False)."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def choose_device(device: str) -> str:
    """Resolves `auto`: a CUDA GPU, else Apple's GPU, else the CPU; and `gpu`: one of the first two.

    Raises:
        ConfigError: The device asked for isn't there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, is_there in available.items() if is_there)
    if device == "gpu":
        device = "mps" if available["mps"] and not available["cuda"] else "cuda"
    known = ("auto", "gpu", *available, *_OTHER_DEVICES)
    if device not in known:
        raise ConfigError(unknown_name("device", device, known))
    if not available.get(device, True):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise ConfigError(
            f"There is no {device} device here that torch can use; there is: {there}. "
            "Leave --device out to take the best one; `ferfusion check` says more."
        )
    return device


def choose_precision(precision: Precision, device: str, backbone: Backbone) -> Precision:
    """Resolves `auto` into fp32, bf16 or fp16.

    On a GPU bf16 where it has it, else fp16. On a CPU bf16 only where the CPU has it and the
    backbone gains by it (dense convolutions do, depthwise ones don't).
    """
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device == "cpu" and backbone.likes_bf16 and cpu_has_bf16():
        return "bf16"
    return "fp32"


def explain_precision(hardware: Hardware, backbones: Sequence[Backbone]) -> str | None:
    """Says in which numbers models are trained, where `auto` chose other ones than fp32.

    Args:
        hardware: As it was asked for, not settled.
        backbones: Of all models; those that stay in fp32 aren't named.
    """
    if hardware.precision != "auto":
        return None
    device = choose_device(hardware.device)
    reduced: dict[Precision, list[str]] = {}
    for backbone in backbones:
        precision = choose_precision(hardware.precision, device, backbone)
        if precision != "fp32":
            reduced.setdefault(precision, []).append(backbone.name)
    if not reduced:
        return None
    names = " and ".join(dict.fromkeys(name for some in reduced.values() for name in some))
    why = f"this CPU and {names} gain by it" if device == "cpu" else "this GPU gains by it"
    return f"Computing in {' and '.join(reduced)} ({why}; --precision fp32 for full precision)."


def choose_compile(hardware: Hardware, n_steps: int) -> bool:
    """Resolves `auto`: compiles on a CUDA GPU, if the training is long enough to make up for it.

    >>> [choose_compile(Hardware(device, compile="auto"), 10**6) for device in ("cpu", "cuda")]
    [False, True]
    """
    if hardware.compile != "auto":
        return hardware.compile == "on"
    return hardware.device == "cuda" and n_steps >= COMPILE_FROM_STEPS


def settle(hardware: Hardware, backbone: Backbone) -> Hardware:
    """Resolves every `auto` for this machine and this backbone.

    Raises:
        ConfigError: The device asked for isn't there.
    """
    device = choose_device(hardware.device)
    precision = choose_precision(hardware.precision, device, backbone)
    if device == "cpu" and precision == "fp16":
        raise ConfigError("fp16 needs a GPU. On a CPU choose --precision bf16 or fp32.")
    return replace(hardware, device=device, precision=precision)


def renew_loss_scale(fabric: Fabric) -> None:
    """Lets the scale of fp16's loss start anew, so that no training inherits that of another."""
    precision = fabric._precision
    if isinstance(precision, MixedPrecision) and precision.scaler is not None:
        precision.scaler = torch.amp.GradScaler(fabric.device.type)


def start_fabric(hardware: Hardware) -> Fabric:
    """Starts Fabric; with several devices or nodes, starts the other processes too.

    Args:
        hardware: Settled.

    Raises:
        ConfigError: The devices can't be had together.
    """
    keep_freed_memory()
    if hardware.device == "cuda":
        # The sizes of batches hardly change, so the fastest way to do each layer is looked for.
        torch.backends.cudnn.benchmark = True
        # Else "fp32" convolutions would multiply with 10 bits of the 23.
        torch.backends.cudnn.allow_tf32 = hardware.precision != "fp32"
    # It would announce the precision on every start; `run.json` keeps it.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    many = hardware.devices * hardware.nodes > 1
    try:
        fabric = Fabric(
            accelerator=hardware.device,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy="ddp" if many else "auto",
            precision=_FABRIC_PRECISION[hardware.precision],  # pyright: ignore[reportArgumentType]
        )
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"Can't train on {hardware.devices} x {hardware.device} in "
            f"{hardware.precision}: {error}"
        ) from error
    return fabric
