"""`python -m defenselib` is the command `defenselib`."""

from defenselib.cli import app

app(prog_name="defenselib")
