"""The process that executes one notebook: `python -P worker.py`, a program of its own that imports nothing of ours.

It reads its job as one line of JSON and writes the outcome as one. While it works it holds on to standard input: when
whoever started it closes that, or is no more, the kernel is killed, what is done of the notebook stays, and it ends.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# A kernel imports torch before it answers; on a machine that is busy with a training papermill's minute is too short.
START_SECONDS = 300
PATIENCE = 5.0  # seconds that papermill has to save, once its kernel is killed


def execute(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """The outcome of a job: {} or what failed ("message"). folder: for a copy of the notebook."""
    import nbformat
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # the parameters are checked, better than it can
    try:
        text = Path(job["notebook"]).read_text(encoding="utf-8-sig")
        copy = os.path.join(folder, os.path.basename(job["notebook"]))
        nbformat.write(nbformat.reads(text, as_version=4), copy)
        papermill.execute_notebook(
            doubled(copy),
            doubled(job["output"]),
            parameters=job["parameters"],
            kernel_name="python3",
            progress_bar=job["progress"],
            start_timeout=START_SECONDS,
        )
    except papermill.PapermillExecutionError as error:
        reason = COLOURS.sub("", f"{error.ename}: {error.evalue}")
        return {"message": f"failed in cell [{error.exec_count}]: {reason}"}
    except Exception as error:  # the kernel died or did not start: papermill has written what there was by then
        return {"message": f"failed: {COLOURS.sub('', str(error)) or type(error).__name__}"}
    return {}


def doubled(path: str) -> str:
    """The path with its braces doubled, for papermill formats paths."""
    return path.replace("{", "{{").replace("}", "}}")


def own_kernel(folder: str) -> None:
    """Put this interpreter's kernel before any other of its name that Jupyter might find."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(os.path.join(folder, "kernels", "python3"))
    others = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = folder + (os.pathsep + others if others else "")


def end_children() -> None:
    """Kill what this process has started, and what that has."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def main() -> None:
    """Run one job."""
    job = json.loads(sys.stdin.readline())
    wake = threading.Event()
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            outcome.update(done=True, **execute(job, folder))
        finally:
            wake.set()

    def hold_on() -> None:
        sys.stdin.read()
        wake.set()

    with tempfile.TemporaryDirectory() as folder:
        own_kernel(folder)
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        threading.Thread(target=hold_on, daemon=True).start()
        wake.wait()
        ended = time.monotonic() + PATIENCE
        while "done" not in outcome and worker.is_alive() and time.monotonic() < ended:
            end_children()
            worker.join(0.1)
        end_children()
    print(json.dumps(outcome), flush=True)
    os._exit(0)  # whatever thread is left of a library has nothing to do any more


if __name__ == "__main__":
    main()
