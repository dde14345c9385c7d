"""The report: one HTML file that needs no network and runs no script, of a scan alone or of a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from defenselib import folders
from defenselib.audit.amount import spoken
from defenselib.audit.cautions import FEW, accuracy_shown, cautions
from defenselib.audit.folder import UserData
from defenselib.audit.markup import bullets, change, folded, histogram, number, paragraph, shown, table, thumbnail
from defenselib.audit.methods import METHODS
from defenselib.audit.names import visible
from defenselib.audit.patterns import not_searched
from defenselib.audit.phrases import NEEDED
from defenselib.audit.results import Delivery, ScanReport
from defenselib.audit.suspects import speaks_against, unjudged
from defenselib.plots import style
from defenselib.plots.words import plural
from defenselib.version import __version__

SUSPECTS, TYPICAL, LABELS = 24, 6, 5
LONG = 30  # rows; longer tables are folded
WORDS = {"calm": "No sign of poison", "look": "Look at these files", "unknown": "Too few images to tell",
         "alarm": "This data set looks poisoned"}  # fmt: skip
NOT_CHECKED = (
    "Labels that are simply wrong are not looked for; such files may stand among the suspects.",
    "A trigger that the network of the scan does not learn leaves no trace in most signs.",
    "Attacks that change the training itself, and not only the data, are out of reach of any look at the data.",
    "A calm report lowers the odds of poison; it is no proof that there is none.",
)
STYLE = Path(__file__).with_name("page.css")
# Nothing may be loaded and nothing run, whatever a file is called.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def head(data: UserData, scan: ScanReport, delivery: Delivery | None) -> str:
    """The answer, and the numbers that one asks for first."""
    count, flagged = len(data.files), int(scan.flagged.sum())
    left = sum(len(part.skipped) for _, part in _folders(data, delivery))
    facts = {"files": number(count), "classes": number(len(data.classes)), "side": f"{data.images.image_size} px"}
    facts |= {"flagged": number(flagged), "not read": number(left)}
    if delivery is not None and delivery.accuracy is not None:
        facts[f"accuracy, {delivery.accuracy.where}"] = accuracy_shown(
            delivery.accuracy.percent, delivery.accuracy.images
        )
    if delivery is not None:
        facts["left out of the cleaned list"] = number(int(delivery.removed.sum()))
    items = "".join(f"<li><b>{shown(value)}</b><span>{shown(name)}</span></li>" for name, value in facts.items())
    warned = "" if delivery is None else "".join(paragraph(item) for item in cautions(data, delivery))
    if warned:
        warned = f'<div class="verdict look"><strong>Before you use this model.</strong>{warned}</div>'
    return (
        f'<div class="verdict {scan.alarm}"><strong>{WORDS[scan.alarm]}.</strong>{paragraph(scan.words)}</div>'
        f'{warned}<ul class="facts">{items}</ul>'
    )


def suspects(data: UserData, scan: ScanReport, delivery: Delivery | None) -> str:
    """The most suspicious files by label, beside typical ones of the same label."""
    labels = data.images.labels
    first = scan.rank[:SUSPECTS]
    some = paragraph(
        "Every folder has files that look stranger than the rest. Nothing says that these are poisoned."
        if scan.quiet
        else "The files that the signs agree on most, and beside them files of the same label that look ordinary."
    )
    order = list(dict.fromkeys(labels[first].tolist()))
    ordinary = ~scan.flagged
    if delivery is not None:
        ordinary &= ~(delivery.suspects & (delivery.predicted != labels))
    if count := int(scan.flagged.sum()):
        seen = int((scan.flagged[first] & torch.isin(labels[first], torch.tensor(order[:LABELS]))).sum())
        some += paragraph(f"{seen} of {plural(count, 'flagged file')} {'is' if seen == 1 else 'are'} shown here.")
    for label in order[:LABELS]:
        mine = first[labels[first] == label]
        quiet = scan.rank[(labels[scan.rank] == label) & ordinary[scan.rank]].flip(0)[:TYPICAL]
        quiet = quiet[~torch.isin(quiet, mine)]
        some += f"<h3>Labelled <code>{shown(data.classes[label])}</code>, suspicious</h3>"
        some += _pictures(data, scan, delivery, mine)
        if len(quiet):
            some += f"<h3>Labelled <code>{shown(data.classes[label])}</code>, typical</h3>"
            some += _pictures(data, scan, delivery, quiet)
    if order[LABELS:]:
        some += paragraph(f"{len(order) - LABELS} more labels have files among the first {SUSPECTS}; see suspects.csv.")
    return some + paragraph("All files, with every score: suspects.csv.", "muted")


def _pictures(data: UserData, scan: ScanReport, delivery: Delivery | None, index: torch.Tensor) -> str:
    found = []
    for i in index.tolist():
        label = int(data.images.labels[i])
        who = ["scan"] if bool(scan.flagged[i]) else []
        if delivery is not None and speaks_against(data, delivery, i):
            who.append(style.label(delivery.defense))
        said = f"suspicion {float(scan.score[i]):.2f}"
        if delivery is not None and int(delivery.predicted[i]) != label:
            said += f"; the model says {visible(data.classes[int(delivery.predicted[i])])}"
        flag = f"; flagged by {' and '.join(who)}" if who else ""
        picture = thumbnail(data.images.images[i], f"{visible(data.files[i])}, labelled {visible(data.classes[label])}")
        look = ' class="flagged"' if who else ""
        found.append(
            f'<li{look}>{picture}<span class="file">{shown(data.files[i])}</span><br>'
            f'<span class="muted">{shown(said + flag)}</span></li>'
        )
    return f'<ul class="pictures">{"".join(found)}</ul>'


def trigger(data: UserData, scan: ScanReport, delivery: Delivery | None) -> str:
    """What the suspects have in common, and the class that it leads to."""
    parts = []
    if scan.target is None:
        parts.append(paragraph("No single target class is named."))
    else:
        name = shown(data.classes[scan.target])
        parts.append(f"<p>The signs point at the class <code>{name}</code> as the target of an attack.</p>")
    if delivery is not None and delivery.target is not None:
        name = shown(data.classes[delivery.target])
        says = "This method names a class whatever the data; " if scan.quiet else ""
        parts.append(f"<p>{says}{shown(style.label(delivery.defense))} takes <code>{name}</code> for the target.</p>")
    if scan.pattern is None:
        parts.append(paragraph("There is no pattern that could be drawn."))
    elif scan.quiet or scan.target is None:
        parts.append(paragraph("The strongest pattern is below the limit from which on one is told."))
    else:
        picture = thumbnail(change(scan.pattern), "What the suspects have in common, around grey")
        parts.append(f'<figure class="trigger">{picture}</figure>')
        parts.append(
            paragraph("What the suspects have in common against other files of their label, around grey: no change.")
        )
    if scan.target_votes:
        titles = {sign.key: sign.title for sign in scan.signs}
        rows = [(titles.get(key, key), name) for key, name in scan.target_votes.items()]
        parts.append(table(("sign", "votes for"), rows, "Votes on the target", texts=(0, 1)))
    return "".join(parts)


def model(data: UserData, delivery: Delivery) -> str:
    """What was delivered: how it was made, how accurate it is, how to use it."""
    seen = delivery.accuracy
    parts = [table(("", ""), list(delivery.settings.items()), "How it was made", texts=(0, 1))]
    if seen is None:
        parts.append(paragraph(f"Accuracy is {delivery.measured}."))
    else:
        many, percent = plural(seen.images, "image"), accuracy_shown(seen.percent, seen.images)
        parts.append(paragraph(f"Accuracy on the {seen.where} ({many}): {percent}."))
        if seen.copies:
            parts.append(paragraph(f"Accuracy is {delivery.measured}."))
        if seen.where == "held-out part":
            parts.append(
                paragraph(
                    "The held-out part was drawn from the same suspect files. Where they are poisoned it is poisoned "
                    "too, and a good model is counted wrong on its poison; give --test for images that you trust."
                )
            )
        if seen.unflagged is not None:
            parts.append(
                paragraph(f"Without the files that the scan flags: {accuracy_shown(seen.unflagged, seen.images)}.")
            )
    parts.append(table(("file", ""), list(delivery.files.items()), "Files", texts=(0, 1)))
    side = data.images.image_size
    use = (
        f"import torch\n\nprogram = torch.export.load('model.pt2').module()\n"
        f"logits = program(images)  # uint8 (N, 3, {side}, {side}), RGB; classes as in model.json\n"
    )
    seconds = sum(delivery.seconds.values())
    code = "\n".join(map(shown, use.splitlines()))
    parts.append(f"<p>It needs torch alone:</p><pre><code>{code}</code></pre>")
    parts.append(paragraph(f"The training took {spoken(seconds)}.", "muted"))
    return "".join(parts)


def classes(data: UserData, scan: ScanReport, delivery: Delivery | None) -> str:
    """Files, flags and accuracy by class."""
    labels, names = data.images.labels, data.classes
    columns: list[tuple[str, torch.Tensor]] = [("files", torch.ones_like(labels)), ("flagged", scan.flagged.long())]
    if delivery is not None:
        columns += [("held out", delivery.held_out.long()), ("left out", delivery.removed.long())]
    counts = [
        torch.zeros(len(names), dtype=torch.int64).index_add_(0, labels, values.cpu()).tolist() for _, values in columns
    ]
    head = ["class", *(name for name, _ in columns)]
    accuracy = None if delivery is None or delivery.accuracy is None else delivery.accuracy.per_class
    if accuracy is not None:
        head.append("accuracy, %")
    digits = 0 if delivery is None or delivery.accuracy is None or delivery.accuracy.images < FEW else 1
    rows: list[list[str | float | None]] = []
    for label, name in enumerate(names):
        row: list[str | float | None] = [name, *(column[label] for column in counts)]
        rows.append(row if accuracy is None else [*row, round(accuracy[label], digits)])
    found = table(head, rows, "Classes, in the order of the model's outputs")
    return folded(f"{len(names)} classes", found) if len(names) > LONG else found


def signs(scan: ScanReport, delivery: Delivery | None) -> str:
    """What each sign says, with the spread of its scores."""
    told = [(sign.title, sign.words, sign.scores) for sign in scan.signs]
    if delivery is not None and delivery.score is not None:
        method = METHODS[delivery.defense]
        said = f"Score: {method.score_words}."
        if method.suspects:
            count = int(delivery.suspects.sum())
            said += f" {plural(count, 'file', 'is', 'are')} among the method's suspects: {method.suspects}."
        if bool(delivery.held_out.any()):
            said += " Held-out files have no score."
        told.append((f"The defense, {style.label(delivery.defense)}", said, delivery.score))
    cards = "".join(
        f"<div><h3>{shown(title)}</h3>{paragraph(said)}{histogram(scores, scan.flagged, title)}</div>"
        for title, said, scores in told
    )
    note = paragraph("Higher is more suspicious. Grey: all files; red: those that the scan flags. Heights are on a "
                     "square-root scale.", "muted")  # fmt: skip
    return f'{note}<div class="signs">{cards}</div>'


def _folders(data: UserData, delivery: Delivery | None) -> list[tuple[str, UserData]]:
    return [("data", data), *(() if delivery is None else delivery.beside.items())]


def checked(data: UserData, scan: ScanReport, delivery: Delivery | None) -> str:
    """What was done to the data, what was looked for, and what was not."""
    counts = [(sign.title, int(torch.isfinite(sign.scores).sum())) for sign in scan.signs]
    done = [f"{title}, on {plural(count, 'file')}" if count else f"{title}, by class" for title, count in counts]
    notes = [note if part is data else f"{name}: {note}"
             for name, part in _folders(data, delivery) for note in part.notes]  # fmt: skip
    took = ", ".join(f"{name} {spoken(value)}" for name, value in scan.seconds.items())
    parts = ["<h3>Data</h3>", bullets(notes), "<h3>Looked for</h3>", bullets(done)]
    if took:
        parts.append(paragraph(f"It took: {took}.", "muted"))
    parts += ["<h3>Not looked for</h3>", bullets([*NOT_CHECKED, *_not_searched(data)])]
    if delivery is not None:
        parts.append("<h3>The cleaned list</h3>")
        parts.append(
            paragraph(
                "It leaves out what the scan flags; where the scan is not calm, also files of the target class that "
                "the defense suspects and that the delivered model takes for another class. Whether the model obeys a "
                "trigger cannot be measured here: nobody knows the trigger. A model of little accuracy takes many "
                "files for another class, and more is left out than should be."
            )
        )
        if bool(delivery.held_out.any()):
            parts.append(paragraph(f"{unjudged(delivery)}."))
    return "".join(parts)


def _not_searched(data: UserData) -> list[str]:
    """A sentence that names the classes that were too small to be searched."""
    names = not_searched(data.images.labels, data.classes)
    return [f"A pattern that only one class has ({NEEDED}), in class {', '.join(names)}."] if names else []


def skipped(data: UserData, delivery: Delivery | None) -> str:
    """Every file that was not read, and why."""
    rows = [(item.file, item.reason, name) for name, part in _folders(data, delivery) for item in part.skipped]
    if not rows:
        return paragraph("Every file was read.")
    head = ("file", "why", "folder")
    found = table(head, rows, f"{plural(len(rows), 'file', 'was', 'were')} not read (skipped.csv)", texts=(0, 1, 2))
    return folded(f"{len(rows)} files", found) if len(rows) > LONG else found


def write_report(path: str | Path, data: UserData, scan: ScanReport, delivery: Delivery | None = None) -> None:
    """Write the report of a scan, and of what a defense delivered where there is one. Errors: FolderError."""
    folders.write_text(Path(path), report(data, scan, delivery))


def report(data: UserData, scan: ScanReport, delivery: Delivery | None = None) -> str:
    """The page as HTML."""
    parts = list(_parts(data, scan, delivery))
    links = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title, _ in parts)
    body = "".join(f'<section id="{key}"><h2>{escape(title)}</h2>{text}</section>' for key, title, text in parts)
    name = shown(data.root.name or str(data.root))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>Is {name} poisoned?</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main><h1>Is <code>{name}</code> poisoned?</h1>{head(data, scan, delivery)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{body}</main>'
        f'<footer class="muted"><p>Written by defenselib {escape(__version__)}. The pictures are in this file; '
        "it may be passed on wherever they may.</p></footer></body></html>"
    )


def _parts(data: UserData, scan: ScanReport, delivery: Delivery | None) -> Sequence[tuple[str, str, str]]:
    made = () if delivery is None else (("model", "The delivered model", model(data, delivery)),)
    return [
        ("suspects", "The most suspicious files", suspects(data, scan, delivery)),
        ("trigger", "The estimated trigger and the target", trigger(data, scan, delivery)),
        *made,
        ("classes", "Files per class", classes(data, scan, delivery)),
        ("signs", "The signs", signs(scan, delivery)),
        ("checked", "What was checked, and what was not", checked(data, scan, delivery)),
        ("skipped", "Files that were not read", skipped(data, delivery)),
    ]
