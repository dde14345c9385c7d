"""The commands of `defenselib`, one module for those that belong together; `defenselib.cli` puts them together."""
