"""`ferfusion serve`: a model as an API and a page."""

import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ferfusion.cli.groups import ENGINE, FOLDER, tell_engine
from ferfusion.errors import ConfigError
from ferfusion.serving.limits import Limits

_USUAL = Limits()


@click.command(short_help="Serve a trained model: an API, and a page to try it.")
@click.argument("model", type=FOLDER)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where to listen. Any but this machine's own asks for a token.",
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    metavar="N",
    type=click.IntRange(0, 65535),
    help="0 takes any that is free.",
)
@click.option(
    "--token",
    envvar="FERFUSION_TOKEN",
    metavar="TEXT",
    help="What one has to know to ask; better given as FERFUSION_TOKEN, which others on "
    "the machine can't see. Made up and printed where --host needs one.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers may call the server, as behind a proxy. May be given "
    "several times; addresses and localhost always pass.",
)
@click.option(
    "--proxy",
    multiple=True,
    metavar="ADDRESS",
    help="A reverse proxy whose X-Forwarded-For is believed, for the rate limit.",
)
@click.option(
    "--find-face/--as-is",
    "finds_face",
    default=None,
    help="Whether faces can be cut out of whole pictures, for whoever asks. By default where the "
    "detector's weights (7 MB) are on this machine already; --find-face fetches them.",
)
@click.option(
    "--like",
    type=FOLDER,
    metavar="DIR",
    help="Cut faces as in this folder that `ferfusion prepare` wrote; by default as in the "
    "model's training, where it says so.",
)
@ENGINE
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="That work on one question to a bundle; default: one a processor.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="Where a run is calculated, as torch names it.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(0, min_open=True),
    default=_USUAL.max_mb,
    show_default=True,
    metavar="X",
    help="Largest request, in megabytes.",
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0, 64, min_open=True),
    default=_USUAL.max_megapixels,
    show_default=True,
    metavar="X",
    help="Largest picture.",
)
@click.option(
    "--places",
    type=click.IntRange(1),
    default=_USUAL.places,
    show_default=True,
    metavar="N",
    help="Requests at once; above that: 503, come back.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=_USUAL.requests_per_s,
    show_default=True,
    metavar="X",
    help="Requests a second from one address, after three times as many at once.",
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=_USUAL.seconds,
              show_default=True, metavar="X", help="Longest request.")  # fmt: skip
def serve(
    model: Path,
    host: str,
    port: int,
    token: str | None,
    allow_host: tuple[str, ...],
    proxy: tuple[str, ...],
    finds_face: bool | None,
    like: Path | None,
    engine: Any,
    threads: int | None,
    device: str,
    max_mb: float,
    max_megapixels: float,
    places: int,
    rate: float,
    seconds: float,
) -> None:
    """Serve the trained MODEL: a page to try it, and an API for programs.

    MODEL is a bundle that `ferfusion export` wrote (a folder or .zip), or the folder of a run.
    Pictures that are sent are never written to the disk or to a log. End it with Ctrl-C.
    """
    limits = replace(
        _USUAL,
        max_mb=max_mb,
        max_megapixels=max_megapixels,
        places=places,
        requests_per_s=rate,
        burst=max(1, round(3 * rate)),
        seconds=seconds,
    )
    try:
        from ferfusion.serving.app import create_app
        from ferfusion.serving.running import choose_token, is_loopback, listen, run_app
    except ImportError as error:
        raise ConfigError(
            f"Serving needs a package that is missing ({error.name}): "
            "pip install 'ferfusion[serve]'."
        ) from error
    from ferfusion.inference.predictor import load

    token, is_new = choose_token(token, host)
    cutter = None if finds_face is False else _find_cutter(model, like, must=finds_face is True)
    with listen(host, port) as listener:
        reached = socket.gethostname() if host in ("0.0.0.0", "::") else host
        address = _write_address(reached, listener.getsockname()[1])
        predictor = load(model, engine=engine, device=device, threads=threads)
        tell_engine(engine, predictor.runner.engine)
        if finds_face and predictor.facts.heat is not None:
            raise ConfigError(
                "--find-face is for models of pictures, and this one looks at temperatures: leave "
                "it out, and send files that are cut to the face."
            )
        app = create_app(
            predictor,
            limits=limits,
            token=token,
            hosts=(*allow_host, reached),
            cut=None if predictor.facts.heat is not None else cutter,
        )

        def tell_ready() -> None:
            click.echo(f"{model} is served at {address}")
            click.echo(f"  page {address}/   API {address}/docs   end with Ctrl-C")
            if is_new:
                click.echo(f"  token {token}")
                click.echo(f"  page, with the token in it: {address}/#token={token}")
            if not is_loopback(host):
                click.echo(
                    "  What is sent isn't encrypted. In a network that you don't trust, put a "
                    "proxy with TLS before it."
                )

        run_app(app, listener, limits, proxies=proxy, tell_ready=tell_ready)
    click.echo("Ended. Everything that had been asked was answered.")


def _find_cutter(model: Path, like: Path | None, *, must: bool) -> Any:
    """Gives what cuts faces out of whole pictures; None where the detector isn't here."""
    from ferfusion.cli.like_training import find_preparation
    from ferfusion.errors import DataError
    from ferfusion.imaging.faces.detector import FaceDetector
    from ferfusion.imaging.faces.weights import fetch_weights, find_weights
    from ferfusion.preparation.frames import cut_moment

    weights = fetch_weights() if must else find_weights()
    if weights is None:
        return None
    preparation = find_preparation(model, like)
    of_thread = threading.local()

    def cut(pictures: Any) -> Any:
        if not hasattr(of_thread, "detector"):
            of_thread.detector = FaceDetector(weights)
        found = cut_moment(pictures, preparation, of_thread.detector)
        if found.face is None:
            raise DataError(
                f"No face can be cut out: {found.reason}. Send pictures with one face in view, or "
                "ask without find_face if they show just the face."
            )
        return {m: found.pictures[m] for m in pictures}, found.face

    return cut


def _write_address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
