"""Bundles to and from the Hugging Face hub, whose page of a model is the bundle's card.

Another hub of the same kind is used if the environment names one (HF_ENDPOINT). Who one is there,
huggingface_hub knows: `hf auth login`, or HF_TOKEN.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from ferfusion.atomic import making_folder
from ferfusion.errors import CheckpointError, ConfigError, DownloadError, ResultsError
from ferfusion.inference import bundle

_FILES = (
    *(bundle.GRAPH, bundle.FACTS, bundle.PARITY),
    *(bundle.SEEN, bundle.CARD, bundle.LICENCES),
)


def push_bundle(path: Path, name: str, *, is_public: bool = False) -> str:
    """Uploads a bundle as a model of the hub, in one commit.

    Args:
        path: Folder or file.
        name: `USER/MODEL`; made if it isn't there.
        is_public: Whether everybody may see a model that is made. One that is there keeps its
            visibility.

    Returns:
        The address of its page.

    Raises:
        CheckpointError: It is no bundle, or a damaged one.
        DownloadError: The hub can't be reached, or refuses.
    """
    hub = _import_hub()
    bundle.open_bundle(path)  # whatever is damaged stays here
    with _as_folder(path) as folder, _explaining(name):
        api = hub.HfApi()
        api.create_repo(name, private=not is_public, exist_ok=True, repo_type="model")
        api.upload_folder(
            repo_id=name,
            folder_path=str(folder),
            allow_patterns=list(_FILES),
            commit_message="A bundle of ferfusion",
        )
        return f"{api.endpoint}/{name}"


def pull_bundle(name: str, out: Path, *, revision: str | None = None) -> bundle.Bundle:
    """Downloads a bundle from the hub and checks it; it appears whole or not at all.

    Args:
        name: `USER/MODEL`.
        out: A new folder.
        revision: A commit, tag or branch; None is the newest.

    Raises:
        ResultsError: Something is at `out` already.
        CheckpointError: What the hub gave is no bundle, or a damaged one.
        DownloadError: The hub can't be reached, refuses, or has no such model.
    """
    hub = _import_hub()
    if out.exists():
        raise ResultsError(f"{out} is there already. Give another --out.")
    with making_folder(out) as part, TemporaryDirectory(prefix="ferfusion-hub-") as folder:
        with _explaining(name):
            hub.snapshot_download(
                name, revision=revision, local_dir=folder, allow_patterns=list(_FILES)
            )
        for file in _FILES:
            if (Path(folder) / file).is_file():
                (Path(folder) / file).rename(part / file)
        if not bundle.is_bundle(part):
            raise CheckpointError(
                f"{name} is no bundle of ferfusion: it has no {bundle.FACTS}. Check the name."
            )
        bundle.open_bundle(part)
    return bundle.open_bundle(out)


@contextmanager
def _as_folder(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    with TemporaryDirectory(prefix="ferfusion-hub-") as folder, zipfile.ZipFile(path) as archive:
        for name in _FILES:
            # Opened before, so these are files that were stored as they are.
            if name in archive.namelist():
                (Path(folder) / name).write_bytes(archive.read(name))
        yield Path(folder)


def _import_hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError("The hub needs huggingface_hub: pip install 'ferfusion[hub]'.") from error
    return huggingface_hub


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as error:
        raise ConfigError(f"'{name}' is no name of a model there: write USER/MODEL.") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise DownloadError(
            f"The hub has no model {name}, or not for you. Check the name; if it is private, log "
            "in with `hf auth login` or set HF_TOKEN."
        ) from error
    except (errors.LocalTokenNotFoundError, errors.HfHubHTTPError) as error:
        said = str(error).strip().splitlines()[0][:200]
        raise DownloadError(
            f"The hub refused {name} ({said}). Log in with `hf auth login`, or set HF_TOKEN, with "
            "a token that may do this."
        ) from error
    except Exception as error:
        if not _is_of_the_network(error):
            raise
        raise DownloadError(
            f"The hub can't be reached ({type(error).__name__}). Check the network, or HF_ENDPOINT "
            "if you use another hub; the same line tries again."
        ) from error


def _is_of_the_network(error: Exception) -> bool:
    """Says so by the package it comes from, which differs between releases of huggingface_hub."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return (
        isinstance(error, ConnectionError)
        or bool(kinds & {"httpx", "httpx2", "requests"})
        or type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled")
    )
