"""What every group of commands shares."""

import difflib
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)
ENGINE = click.option(
    "--engine",
    type=click.Choice(["onnxruntime", "openvino", "fastest"]),
    default="onnxruntime",
    show_default=True,
    help="What calculates a bundle. OpenVINO (extra [openvino]) is faster on many processors; "
    "'fastest' tries both for a second and takes the one that answers sooner.",
)


def tell_engine(choice: str, found: str) -> None:
    """Says which engine was the fastest, if that was asked for."""
    if choice == "fastest":
        click.echo(f"Calculated by {found}, the fastest here of those installed.", err=True)


class Commands(click.Group):
    """A group that names the nearest command when one is misspelt."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or says which one was probably meant."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], known, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(
                f"There is no command '{args[0]}'.{hint} Known: {', '.join(known)}.", ctx
            )
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Lists commands in the order one meets them, not by alphabet."""
        return list(self.commands)
