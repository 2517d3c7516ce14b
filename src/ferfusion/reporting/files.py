"""What lies beside the page of a study."""

from pathlib import Path

# What a study writes into its folder, and what it is for; `*` stands for any name.
_FILES: tuple[tuple[str, str], ...] = (
    ("results.csv", "every model under every seed and fold, a line each"),
    ("tables.tex", "the tables of this page for a paper, beside the published numbers"),
    ("predictions", "every model's answer to every test face, with probabilities"),
    ("figures", "the figures of this page as files"),
    ("figures/activation-maps.png", "where the models looked; it shows faces of the data"),
    ("figures/augmentation*.png", "what training makes of a picture; it shows faces of the data"),
    ("leaks.html", "what leaks, pair by pair; it shows faces of the data"),
    ("config.toml", "every option of this study, for --config"),
)


def list_files_beside(folder: Path) -> list[tuple[str, str]]:
    """Lists what a study's folder holds besides its page: way, what it is."""
    return [
        (path.relative_to(folder).as_posix(), what)
        for pattern, what in _FILES
        for path in sorted(folder.glob(pattern))
    ]
