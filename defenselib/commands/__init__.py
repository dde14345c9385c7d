"""Commands of `defenselib` that stand in files of their own."""
