"""The page that answers first: which defense for which situation, and what reproduced, composed from pairs and claims.

No sentence here is fixed where an outcome decides it: the same functions, given other pairs or outcomes, say something
else, and say that nothing is known where nothing was run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from defenselib.experiments.store import Store
from defenselib.papers import available, findings
from defenselib.papers.findings import FAILED, LOW, MIDDLE, OPEN, Pair
from defenselib.papers.headlines import Outcome, answer
from defenselib.papers.kit.claims import HOLDS, NOT_RUN
from defenselib.papers.kit.verdict import ACC_MARGIN, AGREES, ASR_HIGH, ASR_LOW, DIFFERS
from defenselib.plots import words
from defenselib.report import boxes
from defenselib.report.html import Html, badge, boxed

MEANT = {
    "laptop": "a slim network on a part of CIFAR-10",
    "gpu": "ResNet-18 on all of CIFAR-10, a shortened schedule",
    "paper": "the paper's own size",
}
OWN = "*"


def answers(
    evidence: Mapping[str, Sequence[Pair]],
    drawn: Mapping[str, tuple[int, int]],
    clean: Mapping[str, str],
    elsewhere: Mapping[str, Mapping[str, Sequence[Pair]]],
) -> Html:
    """The direct answers, a sentence each, profile by profile. elsewhere: evidence on other data sets, by name."""
    said, tabled = [of_first(evidence, clean)], findings.fullest(evidence) if evidence else ""
    said += [of_profile(profile, found, profile != tabled) for profile, found in evidence.items()]
    said += [
        of_profile(profile, found, dataset=name) for name, more in elsewhere.items() for profile, found in more.items()
    ]
    every = [found for one in (evidence, *elsewhere.values()) for found in one.values()]
    said += [of_clean(every, clean), of_time(evidence), of_drawn(drawn)]
    return Html(f'<ul class="findings">{"".join(f"<li>{text}</li>" for text in filter(None, said))}</ul>')


def of_first(evidence: Mapping[str, Sequence[Pair]], clean: Mapping[str, str]) -> str:
    """What to try first, and what of it is known; where there is nothing yet, what each came to that came near."""
    name, low = findings.first(evidence), findings.low_at_a_price(evidence)
    if not name:
        near = "; ".join(f"{_label(one)} {_near(mine, one, evidence)}" for one, mine in low.items())
        price = f"for at most {ACC_MARGIN:g} points of accuracy"
        return (
            f"<b>First to try:</b> nothing yet. No defense kept two attacks low {price} and let none through"
            f"{f'. {near}' if near else ''}."
        )
    said = listing([f"{entry_of(pair)} at <code>{profile}</code>, {words.plural(pair.seeds, 'seed')}"
                    for profile, pair in low[name]])  # fmt: skip
    needs = f"It needs clean samples, {escape(clean[name])}." if name in clean else "It needs no clean sample."
    return f"<b>First to try: {_label(name)}.</b> {said}. {needs}"


def _near(mine: Sequence[tuple[str, Pair]], name: str, evidence: Mapping[str, Sequence[Pair]]) -> str:
    """ "kept BadNets low (laptop: ASR 1.3), but not Blend (laptop: 88.8)"."""
    failed = [f"{_attack_of(pair)} (<code>{profile}</code>: ASR {words.number(pair.asr)})"
              for profile, pair in findings.let_through(evidence, name)]  # fmt: skip
    kept = [f"{_attack_of(pair)} (<code>{profile}</code>: {_numbers(pair)}, {words.plural(pair.seeds, 'seed')})"
            for profile, pair in mine]  # fmt: skip
    return f"kept low {listing(kept)}, {f'but not {listing(failed)}' if failed else 'and nothing else decides'}"


def of_profile(profile: str, found: Sequence[Pair], whole: bool = True, dataset: str = "") -> str:
    """What keeps an attack low at one profile: cheaply, and (whole) at any cost; whether anything does so always.
    dataset: another one than that of the page."""
    low = [pair for pair in found if pair.state == LOW]
    cheap = sorted((pair for pair in low if pair.cheap), key=lambda pair: pair.drop)
    where = f"At <code>{profile}</code> ({MEANT.get(profile, 'a profile of its own')})"
    if dataset:
        where = f"On {words.value(dataset, 'dataset')}, at <code>{profile}</code>,"
    if not low:
        return f"{where} no defense was seen to keep an attack low."
    best = listing([entry(pair) for pair in cheap])
    first = f"an attack was kept low for at most {ACC_MARGIN:g} points of accuracy by {best}"
    if not cheap:
        first = f"no attack was kept low for at most {ACC_MARGIN:g} points of accuracy"
    dear = {name: under for name, under in findings.by_defense(found, LOW).items() if name not in _names(cheap)}
    more = listing([f"{_label(name)} ({_attacks(under)})" for name, under in dear.items()])
    return f"{where} {first}{f'. At a higher price: {more}' if dear and whole else ''}. {always(found)}"


def always(found: Sequence[Pair]) -> str:
    """Whether a defense kept all attacks low that it was run under, of those that met several."""
    met = {name: {pair.attack for pair in found if pair.defense == name} for name in _names(found)}
    several = [name for name, under in met.items() if len(under) > 1]
    if not several:
        return "None was run under more than one attack."
    whole = [name for name in several if all(pair.state == LOW for pair in found if pair.defense == name)]
    who = listing([_label(name) for name in whole]) or "none"
    return f"Of the {len(several)} that met several attacks {who} did so under all of them."


def of_clean(every: Iterable[Sequence[Pair]], clean: Mapping[str, str]) -> str:
    """Who needs clean samples, and whether those without worked, on any data set and at any profile."""
    named = "; ".join(
        f"{listing([_label(name) for name, needed in clean.items() if needed == many])} ({escape(many)})"
        for many in dict.fromkeys(clean.values())
    )
    low = dict.fromkeys(pair.defense for found in every for pair in found if pair.state == LOW)
    need = [_label(name) for name in low if name in clean]
    free = [_label(name) for name in low if name not in clean]
    said = f"Clean samples are needed by {named}."
    if not low:
        return said
    who = f"{listing(need)} did" if need else "none did"
    return f"{said} Of these {who} keep an attack low so far; without any clean sample {listing(free) or 'none'} did."


def of_time(evidence: Mapping[str, Sequence[Pair]]) -> str:
    """The quickest of those that kept an attack low, and what ACC they cost, at the profile with most pairs."""
    for profile, found in sorted(evidence.items(), key=lambda item: -len(item[1])):
        taken = list(findings.minutes(found).items())[:3]
        if taken:
            said = listing(
                [f"{_label(name)} ({words.number(time, 0)} min{_price(drop)})" for name, (time, drop) in taken]
            )
            return f"With little time, at <code>{profile}</code>, of those that kept an attack low: {said}."
    return ""


def of_drawn(drawn: Mapping[str, tuple[int, int]]) -> str:
    """What defends on drawn images, which is no evidence about a paper."""
    if not drawn:
        return ""
    always = [_label(name) for name, (held, of) in drawn.items() if held == of]
    sometimes = [f"{_label(name)} ({held} of {of})" for name, (held, of) in drawn.items() if 0 < held < of]
    never = [_label(name) for name, (held, _) in drawn.items() if not held]
    return (
        "Does the code do what it should? On drawn images (<code>demo</code>, BadNets) the backdoor is taken out and "
        f"the accuracy kept in every trial by {listing(always) or 'none'}; in some by {listing(sometimes) or 'none'}; "
        f"in none by {listing(never) or 'none'}."
    )


def entry(pair: Pair) -> str:
    """ "D-BR (BadNets: ASR 0.2, ACC −2.6)"."""
    return f"{_label(pair.defense)} ({entry_of(pair)})"


def entry_of(pair: Pair) -> str:
    """ "BadNets: ASR 0.2, ACC −2.6"."""
    return f"{_attack_of(pair)}: {_numbers(pair)}"


def _attack_of(pair: Pair) -> str:
    return f"{_attacks([pair.attack])}{' as in its own paper' if pair.own else ''}"


def table(found: Sequence[Pair], profile: str) -> Html:
    """A row a kind of attack: who keeps it low, at what price, where the attack still works, what decides nothing."""
    columns = {
        f"kept low, at most {ACC_MARGIN:g} points of ACC": lambda p: p.state == LOW and p.cheap,
        "kept low at a higher price": lambda p: p.state == LOW and not p.cheap,
        f"not low, below {ASR_HIGH:g}": lambda p: p.state == MIDDLE,
        "attack still works": lambda p: p.state == FAILED,
        "decides nothing": lambda p: p.state == OPEN,
    }
    head = "".join(f'<th scope="col">{name}</th>' for name in ("what you suspect", *columns))
    body = []
    for situation in findings.situations():
        mine = [pair for what in (LOW, MIDDLE, FAILED, OPEN) for pair in findings.under(found, situation, what)]
        cells = "".join(f"<td>{_cell([p for p in mine if belongs(p)])}</td>" for belongs in columns.values())
        body.append(f'<tr><th scope="row">{escape(situation.words)}</th>{cells}</tr>')
    said = (
        f"Defenses by kind of attack, profile {profile}: the attack, its ASR, the change of ACC, in percent. Low: an "
        f"ASR of at most {ASR_LOW:g}, beyond the spread, with the gates open; {OWN} as the defense's own paper sets it"
    )
    return boxed(f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>", said, "full-width situations")


def _cell(found: Sequence[Pair]) -> str:
    if not found:
        return words.NONE
    if found[0].state == OPEN:
        names = {
            attack: [_label(p.defense) for p in found if p.attack == attack] for attack in (p.attack for p in found)
        }
        return "<br>".join(f"{_attacks([attack])}: {', '.join(dict.fromkeys(mine))}" for attack, mine in names.items())
    bold = "<b>{}</b>" if found[0].state == LOW else "{}"
    return "<br>".join(
        f"{bold.format(_label(p.defense))}{OWN if p.own else ''} {_attacks([p.attack])}: {_numbers(p, short=True)}"
        for p in found
    )


def _numbers(pair: Pair, short: bool = False) -> str:
    return f"{'' if short else 'ASR '}{words.number(pair.asr)}{_price(pair.drop, short)}"


def _price(drop: float, short: bool = False) -> str:
    """ ", ACC −2.6"."""
    sign = "−" if drop > 0 else "+"
    return "" if math.isnan(drop) else f", {'' if short else 'ACC '}{sign}{abs(drop):.1f}"


def papers_table(store: Store | None = None) -> Html:
    """A row a paper: did its main claims reproduce, profile by profile, what they are, how many of the numbers of its
    main table were run and agree. A name leads to the chapter."""
    return rendered({paper: boxes.facts(paper, store) for paper in available()})


def rendered(known: Mapping[str, boxes.Facts]) -> Html:
    """The table of `papers_table` from facts."""
    profiles = [name for name in ("paper", "gpu", "laptop") if any(name in one.outcomes for one in known.values())]
    names = ["paper", *(f"at {profile}" for profile in profiles)]
    names += ["its main claims, and what came out", "numbers of its main tables"]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = []
    for paper, one in known.items():
        link = f'<a href="{escape(paper)}.html">{_label(paper)}</a>'
        marks = "".join(f"<td>{badge(answer(one.outcomes.get(profile, ())))}</td>" for profile in profiles)
        claims = "<br>".join(claim_line(one, number) for number in range(len(one.headline.claims)))
        body.append(f'<tr><th scope="row">{link}</th>{marks}<td>{claims}</td><td>{counted(one)}</td></tr>')
    said = (
        "Did the main claims of each paper reproduce? Each profile by itself; one cell that speaks against a claim "
        "fails it there. Laptop is a miniature: what fails there is not settled at the paper's own size"
    )
    return boxed(f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>", said, "full-width reproduced")


def claim_line(one: boxes.Facts, number: int) -> str:
    """ "Under ASD every ASR is low: laptop 3 decide nothing, 15 of 18 not run"."""
    exhibit, key = one.headline.claims[number]
    said = [f"{profile} {tally(found[number])}" for profile, found in one.outcomes.items()
            if found[number].outcome != NOT_RUN]  # fmt: skip
    sentence = escape(one.headline.claim(exhibit, key).sentence.rstrip("."))
    return f"{sentence}: {'; '.join(said) or NOT_RUN}"


def tally(one: Outcome) -> str:
    """The cells of a claim, counted: "2 against, 2 for, 1 decides nothing, 2 of 7 not run"."""
    if one.outcome == HOLDS:
        return f"true of all {len(one.points)}"
    counts = {"against": len(one.of("false")), "for": len(one.of("true"))}
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    still, absent = len(one.of("open")), len(one.of("absent"))
    parts += [f"{still} decide{'s' if still == 1 else ''} nothing"] if still else []
    parts += [f"{absent} of {len(one.points)} not run"] if absent else []
    return ", ".join(parts)


def counted(one: boxes.Facts) -> str:
    """ "laptop: 26 of 252 run, 11 agree, 9 differ": the numbers of the main tables."""
    lines = []
    for profile, frames in one.frames.items():
        run = sum(int(frame["reproduced"].notna().sum()) for frame in frames)
        agree, differ = (sum(int((frame["verdict"] == word).sum()) for frame in frames) for word in (AGREES, DIFFERS))
        whole = sum(map(len, frames))
        lines += [f"{profile}: {run} of {whole} run, {agree} agree, {differ} differ"] if run else []
    return "<br>".join(lines) or words.NONE


def listing(parts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _names(found: Iterable[Pair]) -> list[str]:
    return list(dict.fromkeys(pair.defense for pair in found))


def _label(name: str) -> str:
    return escape(words.label(name))


def _attacks(names: Iterable[str]) -> str:
    return escape(", ".join(words.label(name, "attack") for name in names))
