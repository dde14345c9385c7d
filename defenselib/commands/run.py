"""`defenselib run`: one cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from defenselib.commands.output import console, resumable, table
from defenselib.errors import InvalidValueError, check_choice
from defenselib.report.parameters import arguments_for, convert, pairs


def run_command(
    dataset: Annotated[str, typer.Option(help="Name of a data set, or a path to one.")] = "shapes",
    attack: Annotated[str, typer.Option(help="Name of an attack, or none.")] = "badnets",
    defense: Annotated[str, typer.Option(help="Name of a defense; none trains without one.")] = "none",
    profile: Annotated[str, typer.Option(help="How big a training: smoke, demo, laptop, gpu, paper.")] = "smoke",
    seed: Annotated[str, typer.Option(metavar="INTEGER", help="A whole number from 0 on.")] = "0",
    model: Annotated[str | None, typer.Option(help="Architecture; the profile's if not given.")] = None,
    paper: Annotated[str | None, typer.Option(help="Paper whose recipes count; the method's own if not given.")] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Poisoning rate as a fraction; the paper's if not given.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="INTEGER", help="Target class; the paper's if not given.")
    ] = None,
    attack_arg: Annotated[
        list[str] | None, typer.Option(help="Hyper-parameter of the attack, name=value; preset=… is a paper's variant.")
    ] = None,
    defense_arg: Annotated[list[str] | None, typer.Option(help="Hyper-parameter of the defense, name=value.")] = None,
    count: Annotated[str | None, typer.Option(help="Which images the rate is of; the attack's if not given.")] = None,
    source: Annotated[str | None, typer.Option(help="Copy of the data set; that of the results if not given.")] = None,
    holdout: Annotated[
        str, typer.Option(metavar="INTEGER", help="So many training images become the test set instead.")
    ] = "0",
    stop_after: Annotated[str | None, typer.Option(help="Stage, or STAGE:EPOCHS, after which it ends.")] = None,
    measure: Annotated[
        list[str] | None, typer.Option(help="What is measured at the end; acc and asr if not given. May be repeated.")
    ] = None,
    diagnostic: Annotated[str | None, typer.Option(help="oracle-split: ASD that knows the poison; no defense.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; the best there is if not given.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Train once: a data set, an attack, a defense. Prints accuracy and attack success; the store keeps the result."""
    from defenselib import papers
    from defenselib.experiments import Experiment, run
    from defenselib.experiments.fields import arguments

    if paper is not None:
        check_choice("--paper", paper, papers.available())
        _check_runs(paper, attack, attack_arg or ())
    texts = {"rate": (rate, float), "target": (target, int), "seed": (seed, int), "holdout": (holdout, int)}
    chosen: dict[str, Any] = {
        name: None if text is None else convert(text, kind, f"--{name}") for name, (text, kind) in texts.items()
    }
    chosen |= {"model": model, "paper": paper, "count": count, "source": source, "stop_after": stop_after}
    chosen |= {"diagnostic": diagnostic, "measure": tuple(measure) if measure else None}
    given = {"attack": (attack, attack_arg), "defense": (defense, defense_arg)}
    for kind, (name, listed) in given.items():
        told = pairs(listed or (), f"--{kind}-arg")
        known = arguments(kind, name)
        # An unknown name is the Experiment's to refuse, with the names that exist.
        chosen[f"{kind}_args"] = dict(told) if known is None else arguments_for(known, f"{kind} {name!r}", told)
    experiment = Experiment(
        dataset=dataset,
        attack=attack,
        defense=defense,
        profile=profile,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    with resumable():
        result = run(experiment, device=device, progress=progress)
    title = f"{experiment.dataset} · {experiment.attack} · {experiment.defense} · {result.profile}"
    shown = table(title, ("seed", "ACC %", "ASR %", "poisoned", "seconds", "result"), ["result"])
    asr = "-" if result.asr is None else f"{result.asr:.2f}"
    poisoned = str(result.poisoned_count)
    shown.add_row(str(experiment.seed), f"{result.acc:.2f}", asr, poisoned, f"{result.seconds:.1f}", result.hash)
    console().print(shown)


def _check_runs(paper: str, attack: str, told: Sequence[str]) -> None:
    """Refuse an attack that the paper does not run, unless another paper's settings are named."""
    from defenselib import attacks

    named = any(text.startswith("preset=") for text in told)
    if attack in attacks.available() and not named and paper not in attacks.presets(attack):
        raise InvalidValueError(
            f"--paper is {paper!r}, which does not run attack {attack!r}; name one that does "
            f"({', '.join(attacks.presets(attack))}), or whose settings count: --attack-arg preset=..."
        )
