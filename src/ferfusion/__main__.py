"""`python -m ferfusion` is `ferfusion`."""

from ferfusion.cli.main import main

main()
