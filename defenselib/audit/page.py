"""The report: one HTML file that needs no network and runs no script, of a scan alone or of a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from defenselib import folders
from defenselib.audit import sections
from defenselib.audit.delivery import Delivery
from defenselib.audit.folder import UserData
from defenselib.audit.markup import shown
from defenselib.audit.signs import ScanReport
from defenselib.version import __version__

STYLE = Path(__file__).with_name("page.css")
# Nothing may be loaded and nothing run, whatever a file is called.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
        f"<body><main><h1>Is <code>{name}</code> poisoned?</h1>{sections.head(data, scan, delivery)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>{body}</main>'
        f'<footer class="muted"><p>Written by defenselib {escape(__version__)}. The pictures are in this file; '
        "it may be passed on wherever they may.</p></footer></body></html>"
    )


def _parts(data: UserData, scan: ScanReport, delivery: Delivery | None) -> Sequence[tuple[str, str, str]]:
    model = () if delivery is None else (("model", "The delivered model", sections.model(data, delivery)),)
    return [
        ("suspects", "The most suspicious files", sections.suspects(data, scan, delivery)),
        ("trigger", "The estimated trigger and the target", sections.trigger(data, scan, delivery)),
        *model,
        ("classes", "Counts a class", sections.classes(data, scan, delivery)),
        ("signs", "The signs", sections.signs(scan, delivery)),
        ("checked", "What was checked, and what was not", sections.checked(data, scan, delivery)),
        ("skipped", "Files that were not read", sections.skipped(data, delivery)),
    ]
