"""A Slurm of this machine alone: a controller and two nodes over loopback, for tests; needs root and Debian's packages.

Jobs find the configuration where Debian has it, since Slurm's variables are taken from their environment; so there is
none where a file of somebody else's lies in that place.

By hand, to try a command of the book on: `python tests/workflow/loopback.py FOLDER COMMAND ...`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
MUNGE_KEY = Path("/etc/munge/munge.key")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "runuser")
PARTITION = "loopback"
SETTINGS = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MinJobAge=7200
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=16000
PartitionName={partition} Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None]
    if absent:
        return f"Slurm cannot be started: no {', '.join(absent)} (Debian's slurm-wlm and munge)"
    if os.geteuid() != 0:
        return "Slurm can only be started by root"
    return f"{CONFIGURATION} is another Slurm's" if CONFIGURATION.exists() else ""


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Inside, Slurm runs; the name of its partition."""
    (folder / "state").mkdir(parents=True)
    CONFIGURATION.parent.mkdir(exist_ok=True)
    host = socket.gethostname().split(".")[0]
    text = SETTINGS.format(folder=folder, host=host, ports=_free_ports(3), partition=PARTITION)
    with ExitStack() as stack:
        stack.callback(CONFIGURATION.unlink)
        CONFIGURATION.write_text(text)
        stack.enter_context(_process(_munge(folder)))
        stack.enter_context(_process(["/usr/sbin/slurmctld", "-D"]))
        for node in ("n1", "n2"):
            stack.enter_context(_process(["/usr/sbin/slurmd", "-D", "-N", node]))
        _wait_for("idle")
        yield PARTITION


def _munge(folder: Path) -> list[str]:
    """A munge daemon of our own, on the usual socket, unless one answers there."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return ["sleep", "infinity"]
    runtime = Path("/run/munge")
    runtime.mkdir(exist_ok=True)
    if not MUNGE_KEY.exists():
        MUNGE_KEY.write_bytes(os.urandom(1024))
        MUNGE_KEY.chmod(0o400)
        shutil.chown(MUNGE_KEY, "munge", "munge")
    shutil.chown(runtime, "munge", "munge")
    return ["runuser", "-u", "munge", "--", "/usr/sbin/munged", "--foreground", "--force"]


@contextmanager
def _process(command: list[str]) -> Iterator[None]:
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            running.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _wait_for(state: str) -> None:
    for _ in range(60):
        found = subprocess.run(["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True, check=False).stdout
        if found.split() == [state, state]:
            return
        time.sleep(1)
    raise TimeoutError(f"Slurm's nodes are {found.split()}, not {state}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def jobs() -> list[dict[str, str]]:
    """What Slurm knows of every job, those that have ended too: JobId, JobState, NodeList, StartTime, Comment, ..."""
    told = asked("scontrol", "show", "job", "--oneliner").splitlines()
    return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in told if "JobId=" in line]


def asked(*command: str) -> str:
    """What a command of Slurm's says. Errors: CalledProcessError."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).absolute()):
        sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
