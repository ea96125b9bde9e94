"""A real Slurm on this machine: slurmctld and two slurmd that pretend to be GPU nodes, without systemd or cgroups.

    python tests/slurm/lab.py up FOLDER      then: export SLURM_CONF=FOLDER/etc/slurm.conf
    python tests/slurm/lab.py down FOLDER

For Debian and Ubuntu, as root. What it changes outside the folder (links in /etc/slurm, two lines in /etc/hosts) it
takes back.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
NODES = ("n1", "n2")
GPUS = 4
HOSTS = "".join(f"127.0.0.1 {node} # slurm lab\n" for node in NODES)
ETC = Path("/etc/slurm")
LIMIT_S = 60

CONF = """
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,NoShared
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
OverTimeLimit=0
KillWait=5
SlurmdTimeout=15
MinJobAge=600
SlurmctldPort=16817
SlurmctldPidFile={lab}/run/slurmctld.pid
SlurmdPidFile={lab}/run/slurmd-%n.pid
SlurmdSpoolDir={lab}/spool/%n
StateSaveLocation={lab}/state
SlurmctldLogFile={lab}/log/slurmctld.log
SlurmdLogFile={lab}/log/slurmd-%n.log
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1-0 DefMemPerCPU=1000 State=UP
PartitionName=gpu Nodes=ALL MaxTime=1-0 DefMemPerCPU=1000 State=UP
"""


class Lab:
    """The daemons and their files.

    Args:
        folder: of all their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "etc" / "slurm.conf"

    def up(self) -> None:
        """Install what is missing and start everything."""
        _install()
        for name in ("etc", "run", "spool", "state", "log", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configure()
        self._start_munge()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def down(self) -> None:
        """Stop everything that ``up`` started, jobs first, and undo what it changed elsewhere."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", "--user=root")
            wait_until(lambda: not self.run("squeue", "--noheader"), "no job is left", 20)
        for node in NODES:
            self.kill_node(node)
        for name in ("slurmctld", "munged"):
            self._stop(name, signal.SIGTERM)
        for name in ("slurm.conf", "gres.conf"):
            if (ETC / name).is_symlink() and (ETC / name).readlink().is_relative_to(self.folder):
                (ETC / name).unlink()
        _write_hosts(False)

    def run(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        return done.stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands find this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def start_controller(self) -> None:
        """Start slurmctld, which goes on from the state it wrote."""
        subprocess.run(["slurmctld", "-i"], env=self.environment, check=True, timeout=LIMIT_S)

    def stop_controller(self) -> None:
        """Stop slurmctld; jobs run on."""
        self._stop("slurmctld", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        subprocess.run(["slurmd", "-N", node], env=self.environment, check=True, timeout=LIMIT_S)

    def kill_node(self, node: str) -> None:
        """Kill a node's slurmd and all that runs on it, as when its power fails."""
        daemon = self._pid(f"slurmd-{node}")
        for process in [*self._steps(node), *([daemon] if daemon else [])]:
            with suppress(psutil.NoSuchProcess):
                family = [process, *process.children(recursive=True)]
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
        (self.folder / "run" / f"slurmd-{node}.pid").unlink(missing_ok=True)

    def wait_for_nodes(self) -> None:
        """Wait until jobs can start on every node."""

        def ready() -> bool:
            states = self.run("sinfo", "--noheader", "--Node", "--partition=cpu", "--format=%T").split()
            return len(states) == len(NODES) and {*states} <= {"idle", "mixed", "allocated"}

        wait_until(ready, "the nodes are up", LIMIT_S)

    def _steps(self, node: str) -> list[psutil.Process]:
        """Slurm's processes that watch over the steps of a node."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            words = process.info["cmdline"] or []
            if words and words[0].startswith("slurmstepd") and self._node_of(process) == node:
                found.append(process)
        return found

    def _node_of(self, process: psutil.Process) -> str | None:
        """The node that a slurmstepd belongs to: it keeps its node's log open."""
        with suppress(psutil.Error):
            for file in process.open_files():
                if Path(file.path).parent == self.folder / "log":
                    return Path(file.path).stem.removeprefix("slurmd-")
        return None

    def _configure(self) -> None:
        ports = f"[17001-{17000 + len(NODES)}]"
        size = f"CPUs=32 RealMemory=200000 Gres=gpu:a100:{GPUS} State=UNKNOWN"
        nodes = f"NodeName=n[1-{len(NODES)}] NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports} {size}\n"
        self.conf.write_text(CONF.format(lab=self.folder).replace("PartitionName=cpu", nodes + "PartitionName=cpu"))
        gpus = ["AutoDetect=off"]
        for node in NODES:
            for number in range(GPUS):
                device = self.folder / "dev" / f"{node}-gpu{number}"
                if not device.exists():
                    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            gpus.append(f"NodeName={node} Name=gpu Type=a100 File={self.folder}/dev/{node}-gpu[0-{GPUS - 1}]")
        (self.folder / "etc" / "gres.conf").write_text("\n".join([*gpus, ""]))
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            if (ETC / name).exists() and not (ETC / name).is_symlink():
                raise RuntimeError(f"{ETC / name} exists: this machine has a Slurm of its own")
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / "etc" / name)  # within jobs the variables of Slurm are not passed on
        _write_hosts(True)

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
            return  # one that is not ours
        key = Path("/etc/munge/munge.key")
        if not key.exists():
            key.write_bytes(os.urandom(1024))
            shutil.chown(key, "munge", "munge")
            key.chmod(0o400)
        run = Path("/run/munge")
        run.mkdir(exist_ok=True)
        shutil.chown(run, "munge", "munge")
        run.chmod(0o755)
        subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged"], check=True, timeout=LIMIT_S)
        pid = run / "munged.pid"
        wait_until(pid.exists, "munged is up", LIMIT_S)
        shutil.copy(pid, self.folder / "run" / "munged.pid")

    def _pid(self, name: str) -> psutil.Process | None:
        path = self.folder / "run" / f"{name}.pid"
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(path.read_text()))
            return process if process.name() == name.split("-")[0] else None
        return None

    def _stop(self, name: str, number: signal.Signals) -> None:
        process = self._pid(name)
        if process is None:
            return
        process.send_signal(number)

        def gone() -> bool:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE

        wait_until(gone, f"{name} has ended", LIMIT_S)
        (self.folder / "run" / f"{name}.pid").unlink(missing_ok=True)


def wait_until(holds: Callable[[], object], what: str, limit_s: float) -> None:
    """Wait until something holds; fails if it takes too long."""
    until = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"after {limit_s:.0f} s it is not so that {what}")
        time.sleep(0.3)


def _install() -> None:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ", *PACKAGES]
    if subprocess.run(query, capture_output=True, text=True, check=False).stdout.split() == ["installed"] * 4:
        return
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], check=True, **quiet)


def _write_hosts(known: bool) -> None:
    path = Path("/etc/hosts")
    others = path.read_text().replace(HOSTS, "")
    others += "" if others.endswith("\n") else "\n"
    path.write_text(others + HOSTS if known else others)


if __name__ == "__main__":
    lab = Lab(Path(sys.argv[2]))
    lab.up() if sys.argv[1] == "up" else lab.down()
