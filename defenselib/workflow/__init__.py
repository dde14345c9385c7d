"""Batches by Snakemake: one job a cell of a plan, notebooks and the book on top (`Snakefile`)."""
