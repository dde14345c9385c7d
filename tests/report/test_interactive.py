"""Sortable tables: whole, in the page, without an outside script."""

from __future__ import annotations

import re

import pandas as pd
import pytest

pytest.importorskip("itables")

from defenselib.report import interactive


def test_a_table_is_whole_sorted_by_numbers_and_asks_nobody() -> None:
    frame = pd.DataFrame({"name": [f"row {i} <b>" for i in range(400)], "ACC": ["81.0 ± 1.4", "–"] * 200, "ASR": "5"})
    text = str(interactive.table(frame, "All", "every", high=["ACC"], low=["ASR"], last=[False, True] * 200))
    assert all(f"row {i} &lt;b&gt;" in text for i in range(400))
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.?https?:", text) and "import" not in text
    assert '"orderSequence": ["desc", "asc"]' in text and '"orderSequence": ["asc", "desc"]' in text
    assert '"orderFixed": {"pre": [[3, "asc"]]}' in text


def test_the_script_comes_with_the_page(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import itables.javascript

    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *objects: shown.extend(objects))
    interactive.start()
    text = "".join(str(one.data) for one in shown)
    assert 400_000 < len(text) < 2_000_000
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.?https?:", text) and "from 'https" not in text
    assert itables.javascript._CONNECTED is False
