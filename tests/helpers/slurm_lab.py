"""A real Slurm on this machine: slurmctld and two slurmd that pretend to be GPU nodes, without systemd or cgroups.

    python tests/helpers/slurm_lab.py up FOLDER      then: export SLURM_CONF=FOLDER/etc/slurm.conf
    python tests/helpers/slurm_lab.py down FOLDER

For Debian and Ubuntu, as root. What it changes outside the folder (links in /etc/slurm, two lines in /etc/hosts) it
takes back, and so does the next ``up`` for a lab that was killed. Packages stay installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
ACCOUNTING = ("mariadb-server-core", "mariadb-client-core", "slurmdbd")
NODES = ("n1", "n2")
GPUS = 4
HOSTS = "".join(f"127.0.0.1 {node} # slurm lab\n" for node in NODES)
DAEMONS = ("slurmctld", "slurmd", "slurmstepd", "slurmdbd", "mariadbd")
ETC = Path("/etc/slurm")
LINKED = ("slurm.conf", "gres.conf", "slurmdbd.conf")
OWNER = "tests.pid"
LIMIT_S = 120

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
AccountingStorageType=accounting_storage/{accounts}
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts_port}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,NoShared
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
OverTimeLimit=0
KillWait=30
SlurmdTimeout=15
MinJobAge=600
SlurmctldPort=16817
SlurmctldPidFile={lab}/run/slurmctld.pid
SlurmdPidFile={lab}/run/slurmd-%n.pid
SlurmdSpoolDir={lab}/spool/%n
StateSaveLocation={lab}/state
SlurmctldLogFile={lab}/log/slurmctld.log
SlurmdLogFile={lab}/log/slurmd-%n.log
PartitionName=DEFAULT Nodes=ALL MaxTime=1-0 DefMemPerCPU=1000 PreemptMode=OFF State=UP
PartitionName=cpu Default=YES
PartitionName=gpu
PartitionName=spare PriorityTier=1 PreemptMode=REQUEUE
PartitionName=urgent PriorityTier=9
"""

ACCOUNTS_PORT, DATABASE_PORT = 16819, 16306
ACCOUNTS_CONF = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
AuthType=auth/munge
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=accounts
LogFile={lab}/log/slurmdbd.log
PidFile={lab}/run/slurmdbd.pid
"""
DATABASE_INIT = """
CREATE DATABASE IF NOT EXISTS accounts;
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON accounts.* TO slurm@'127.0.0.1';
"""


class Lab:
    """The daemons and their files.

    Args:
        folder: of all their files.

    Attributes:
        conf: Slurm's configuration.
        shared: a folder that all nodes see, with what is mounted in it later.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "etc" / "slurm.conf"
        self.shared = self.folder / "shared"

    def up(self) -> None:
        """Install what is missing and start everything.

        Raises:
            RuntimeError: packages are missing and cannot be installed, or this machine has a Slurm of its own.
        """
        install(PACKAGES)
        _end_of_a_killed_one()
        for name in ("etc", "run", "spool", "state", "log", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(exist_ok=True)
        for words in (["--bind", self.shared], ["--make-shared"]):
            subprocess.run(["mount", *words, self.shared], check=True, timeout=LIMIT_S)
        (self.folder / "run" / OWNER).write_text(str(os.getpid()))
        self._configure()
        self._start_munge()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for_nodes()

    def down(self) -> None:
        """Stop everything that ``up`` started, jobs first, and undo what it changed elsewhere."""
        with suppress(subprocess.SubprocessError, OSError, AssertionError):
            self.run("scancel", "--signal=KILL", "--full", "--user=root")
            self.run("scancel", "--user=root")
            wait_until(lambda: not self.run("squeue", "--noheader"), "no job is left", 20)
        for node in NODES:
            self.kill_node(node)
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._stop(name)
        for process in self.strays():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        subprocess.run(["umount", "--recursive", "--lazy", "--quiet", self.shared], check=False, timeout=LIMIT_S)
        for name in LINKED:
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
        self._stop("slurmctld")

    def start_node(self, node: str) -> None:
        """Start a node's slurmd, which sees this machine's mounts and has its own beside them."""
        command = ["unshare", "--mount", "--propagation", "slave", "slurmd", "-N", node]
        subprocess.run(command, env=self.environment, check=True, timeout=LIMIT_S)

    def mount_on_nodes(self, source: Path, target: Path) -> None:
        """Let jobs find another folder at a place; the machine itself goes on seeing the one that is there."""
        for node in NODES:
            daemon = self._pid(f"slurmd-{node}")
            if daemon is None:
                raise AssertionError(f"{node} is down")
            command = ["nsenter", "--mount", f"--target={daemon.pid}", "mount", "--bind", source, target]
            subprocess.run([str(word) for word in command], check=True, timeout=LIMIT_S)

    def unmount_on_nodes(self, target: Path) -> None:
        """Undo `mount_on_nodes`."""
        for node in NODES:
            daemon = self._pid(f"slurmd-{node}")
            if daemon is not None:
                command = ["nsenter", "--mount", f"--target={daemon.pid}", "umount", "--lazy", str(target)]
                subprocess.run(command, check=False, timeout=LIMIT_S)

    def start_accounts(self) -> None:
        """Keep accounts from now on: MariaDB, slurmdbd, and a slurmctld that tells them."""
        install(ACCOUNTING)
        if self._pid("mariadbd") is None:
            self._start_database()
        self._start_slurmdbd()
        self.stop_controller()
        self._configure(accounts="slurmdbd")
        with suppress(subprocess.CalledProcessError):  # it is known from an earlier time
            self.run("sacctmgr", "--immediate", "add", "cluster", "lab")
        self.start_controller()
        self.wait_for_nodes()

    def stop_accounts(self) -> None:
        """Keep none any more."""
        self.stop_controller()
        self._configure()
        for name in ("slurmdbd", "mariadbd"):
            self._stop(name)
        self.start_controller()
        self.wait_for_nodes()

    def _start_database(self) -> None:
        data, run = self.folder / "database", self.folder / "run"
        common = ["--no-defaults", "--user=root", f"--datadir={data}"]
        data.mkdir(exist_ok=True)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": LIMIT_S}
        subprocess.run(["mariadb-install-db", *common, "--skip-test-db"], **quiet)  # type: ignore[call-overload]
        init = self.folder / "etc" / "database.sql"
        init.write_text(DATABASE_INIT)
        words = [f"--pid-file={run}/mariadbd.pid", f"--socket={run}/mariadbd.sock", f"--init-file={init}"]
        words += ["--bind-address=127.0.0.1", f"--port={DATABASE_PORT}", "--skip-name-resolve"]
        with open(self.folder / "log" / "mariadbd.log", "wb") as log:
            subprocess.Popen(
                ["mariadbd", *common, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        log_file = self.folder / "log" / "mariadbd.log"
        wait_until(lambda: "ready for connections" in log_file.read_text(), "MariaDB is up", LIMIT_S)

    def _start_slurmdbd(self) -> None:
        conf = self.folder / "etc" / "slurmdbd.conf"
        text = ACCOUNTS_CONF.format(lab=self.folder, port=ACCOUNTS_PORT, database_port=DATABASE_PORT)
        conf.touch(0o600)
        conf.write_text(text)
        _link(conf)
        subprocess.run(["slurmdbd"], env=self.environment, check=True, timeout=LIMIT_S)
        wait_until(lambda: _answers(ACCOUNTS_PORT), "slurmdbd is up", LIMIT_S)

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

    def strays(self) -> list[psutil.Process]:
        """Processes that have to do with this lab: without cgroups Slurm loses sight of some that it should kill."""
        me, found = psutil.Process(), []
        for process in psutil.process_iter(["name", "cmdline", "cwd", "status"]):
            about = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
            mine = any(str(self.folder) in word for word in about) or process.info["name"] in DAEMONS
            if mine and process.info["status"] != psutil.STATUS_ZOMBIE and process not in (me, *me.parents()):
                found.append(process)
        return found

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

    def _configure(self, accounts: str = "none") -> None:
        ports = f"[17001-{17000 + len(NODES)}]"
        size = f"CPUs=32 RealMemory=200000 Gres=gpu:a100:{GPUS} State=UNKNOWN"
        nodes = f"NodeName=n[1-{len(NODES)}] NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports} {size}\n"
        conf = CONF.format(lab=self.folder, accounts=accounts, accounts_port=ACCOUNTS_PORT)
        self.conf.write_text(conf.replace("PartitionName=DEFAULT", nodes + "PartitionName=DEFAULT"))
        gpus = ["AutoDetect=off"]
        for node in NODES:
            for number in range(GPUS):
                device = self.folder / "dev" / f"{node}-gpu{number}"
                if not device.exists():
                    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            gpus.append(f"NodeName={node} Name=gpu Type=a100 File={self.folder}/dev/{node}-gpu[0-{GPUS - 1}]")
        (self.folder / "etc" / "gres.conf").write_text("\n".join([*gpus, ""]))
        for name in ("slurm.conf", "gres.conf"):
            _link(self.folder / "etc" / name)
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

    def _stop(self, name: str) -> None:
        process = self._pid(name)
        if process is None:
            return
        process.terminate()

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


def install(packages: Sequence[str]) -> None:
    """Install what is missing of some Debian packages, without starting their services.

    Raises:
        RuntimeError: it cannot be done here.
    """
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} "]
    try:
        found = [subprocess.run([*query, name], capture_output=True, text=True, check=False) for name in packages]
    except FileNotFoundError:
        raise RuntimeError("this is no Debian or Ubuntu: there is no dpkg-query") from None
    missing = [name for name, done in zip(packages, found, strict=True) if done.stdout.split() != ["installed"]]
    if not missing:
        return
    with _services_stay_down():
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(["apt-get", *words], capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                why = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise RuntimeError(f"cannot install {' '.join(missing)}: apt-get {words[0]}: {why}")


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """What packages ask for before they start their services."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    try:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        yield
    finally:
        policy.unlink(missing_ok=True)


def _end_of_a_killed_one() -> None:
    """Take down the lab of tests that were killed; that of tests that run is left alone."""
    conf = ETC / "slurm.conf"
    if not conf.is_symlink() or "ClusterName=lab" not in (conf.read_text() if conf.exists() else ""):
        return
    other = Lab(conf.resolve().parents[1])
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int((other.folder / "run" / OWNER).read_text()))
        if any("pytest" in word for word in process.cmdline()):
            raise RuntimeError(f"process {process.pid} runs these tests already ({other.folder}): let it end first")
    other.down()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _link(file: Path) -> None:
    """Let a file be found in /etc/slurm: within jobs the variables of Slurm are not passed on."""
    ETC.mkdir(exist_ok=True)
    place = ETC / file.name
    if place.exists() and not place.is_symlink():
        raise RuntimeError(f"{place} exists: this machine has a Slurm of its own")
    place.unlink(missing_ok=True)
    place.symlink_to(file)


def _write_hosts(known: bool) -> None:
    path = Path("/etc/hosts")
    others = path.read_text().replace(HOSTS, "")
    others += "" if others.endswith("\n") else "\n"
    path.write_text(others + HOSTS if known else others)


if __name__ == "__main__":
    lab = Lab(Path(sys.argv[2]))
    lab.up() if sys.argv[1] == "up" else lab.down()
