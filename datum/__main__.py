"""`python -m datum` is the `datum` command."""

from datum.cli import main

main()
