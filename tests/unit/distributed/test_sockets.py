"""Listening sockets of a training, and no execution of anything that is put into its store."""

import ast
import base64
import ipaddress
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist

from aroface.distributed.launch import Nodes, run_id
from aroface.distributed.process_group import loopback_interface, process_group, stay_on_loopback
from aroface.files import write_json
from embedding_runs import make_run
from external_models import face_pairs
from gloo import run_ranks
from training_runs import write_data, write_recipe

DEADLINE_S = 180
PLAIN = {"color": "RGB", "flip": False, "fusion": "sum", "alignment": "five_point"}
NODES = {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost,other"}


def aroface(*words: object) -> list[str]:
    return [sys.executable, "-m", "aroface", *map(str, words), "--device", "cpu", "--processes", "2"]


@pytest.fixture
def training(tmp_path: Path) -> list[str]:
    recipe = write_recipe(tmp_path, epochs=1000)
    folders = ["--run-dir", tmp_path / "run", "--state-dir", tmp_path / "state"]
    reading = ["--loader-threads", 1, "--save-every", 10**6]
    return aroface("train", "--recipe", recipe, "--data", write_data(tmp_path / "data"), *folders, *reading)


def listeners(launcher: psutil.Process) -> set[tuple[int, str, int]]:
    """Process, address and port of all TCP and UDP sockets of a launcher and its processes that others can send to."""
    found = set()
    with suppress(psutil.NoSuchProcess):
        for process in [launcher, *launcher.children(recursive=True)]:
            for each in process.net_connections("inet"):
                if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and each.laddr:
                    found.add((process.pid, each.laddr.ip, each.laddr.port))
    return found


def watched(process: "subprocess.Popen[str]") -> Iterator[set[tuple[int, str, int]]]:
    """All sockets that were seen up to now, until the process ends."""
    seen: set[tuple[int, str, int]] = set()
    until = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < until:
        seen |= listeners(psutil.Process(process.pid))
        yield seen
        time.sleep(0.02)


def begun(folder: Path) -> bool:
    log = folder / "run" / "log.jsonl"
    return log.exists() and log.stat().st_size > 0


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def overwrite(port: int, bomb: bytes) -> int:
    """Put a bomb under every key of a store, and under those of torchrun's own rendezvous; returns how many."""
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=20))
    keys = [*store.list_keys(), "torch.rendezvous.aroface"]
    for key in keys:
        store.set(key, base64.b64encode(bomb) if "rendezvous" in key else bomb)
    return len(keys)


def end(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        process.send_signal(signal.SIGUSR1)
    for process in processes:
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def start(words: list[str], **environment: str) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(words, env=os.environ | environment, **pipes)


def test_on_one_machine_a_training_listens_on_loopback_and_executes_nothing(tmp_path, training):
    bomb = tmp_path / "executed"
    process = start(training, GLOO_SOCKET_IFNAME="none of this machine")
    try:
        attacked_at = 0.0
        for seen in watched(process):
            if begun(tmp_path) and not attacked_at:
                (port,) = {port for pid, _, port in seen if pid == process.pid}
                assert overwrite(port, pickle.dumps(Bomb(bomb))) > 3
                attacked_at = time.monotonic()
            if attacked_at and time.monotonic() - attacked_at > 7:  # torchrun's own rendezvous looks every 5 s
                break
        assert process.poll() is None, process.communicate()[0]
    finally:
        end(process)
    assert not bomb.exists()
    assert len({pid for pid, _, _ in seen}) == 3, "the launcher has the store, each process gloo's"
    assert [address for _, address, _ in seen if not ipaddress.ip_address(address).is_loopback] == []


def test_on_several_nodes_nothing_that_is_put_into_the_store_is_executed(tmp_path, training):
    bomb = tmp_path / "executed"
    step = {**NODES, "SLURM_JOB_ID": str(os.getpid()), "AROFACE_RENDEZVOUS": "0f1e"}
    nodes = [start(training, **step, SLURM_NODEID=str(number)) for number in range(2)]
    try:
        for seen in watched(nodes[0]):
            ports = {port for pid, _, port in seen if pid == nodes[0].pid}
            if ports:  # from the first moment on
                with suppress(RuntimeError):
                    overwrite(min(ports), pickle.dumps(Bomb(bomb)))
            if begun(tmp_path):
                break
    finally:
        end(*nodes)
    assert ports == {20_000 + os.getpid() % 12_000}, "the job's own"
    assert not bomb.exists()


def test_on_one_machine_embedding_listens_on_loopback(tmp_path):
    spec = {"name": "faces", "protocol": "pairs", "path": str(face_pairs(tmp_path / "faces.bin")), "options": PLAIN}
    write_json(tmp_path / "faces.json", spec)
    model, out = make_run(tmp_path / "run", 0), tmp_path / "features"
    process = start(aroface("embed", "--run-dir", model, "--benchmark", tmp_path / "faces.json", "--out", out))
    *_, seen = watched(process)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert len({pid for pid, _, _ in seen}) > 1
    assert [address for _, address, _ in seen if not ipaddress.ip_address(address).is_loopback] == []


def gather(rank: int) -> list[object]:
    with process_group("cpu") as ranks:
        return ranks.gather([{"rank": rank, "text": "é" * 3 * rank}, None, 1.5])


def test_processes_exchange_values_of_unequal_length():
    expected = [[{"rank": rank, "text": "é" * 3 * rank}, None, 1.5] for rank in range(2)]
    assert run_ranks(2, gather) == [expected, expected]


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}, True),
        ({}, True),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, False),
    ],
)
def test_only_processes_of_one_machine_are_kept_on_loopback(environment, kept):
    names = {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}
    interface = loopback_interface()
    assert interface is not None
    assert stay_on_loopback(environment) == (dict.fromkeys(names, interface) if kept else {})


def test_each_start_has_an_identifier_of_its_own_and_nodes_share_it():
    assert run_id(None, {}) != run_id(None, {})
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
    nodes = [Nodes(2, rank, "n1", 20_007) for rank in range(2)]
    for environment in (job, {**job, "AROFACE_RENDEZVOUS": "0f1e"}):
        assert len({run_id(node, environment) for node in nodes}) == 1
    assert run_id(nodes[0], {**job, "AROFACE_RENDEZVOUS": "0f1e"}) == "aroface-0f1e"


UNPICKLING = {
    *("all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list"),
    *("send_object_list", "recv_object_list", "rpc_sync", "rpc_async"),
}
SAFE = {"datasets/formats/safe_pickle.py", "faces/detection/mtcnn.py"}
"""A reader that executes nothing, and one that reads bytes of an installed package whose SHA-256 it knows."""


@pytest.mark.parametrize("path", sorted(Path("src/aroface").rglob("*.py")), ids=str)
def test_no_module_unpickles_what_it_received(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            assert name not in UNPICKLING, f"line {node.lineno}"
        if isinstance(node, ast.Constant):
            assert node.value != "c10d", f"line {node.lineno}: torchrun's own rendezvous unpickles its state"
        if not isinstance(node, ast.Call):
            continue
        called, options = ast.unparse(node.func), {each.arg: ast.unparse(each.value) for each in node.keywords}
        if called == "torch.load":
            assert options.get("weights_only") == "True", f"line {node.lineno}"
        if called == "np.load":
            assert options.get("allow_pickle", "False") == "False", f"line {node.lineno}"
        loads = called.split(".")[0] in ("pickle", "joblib", "dill") and called.split(".")[-1] in ("load", "loads")
        assert not loads or path.relative_to("src/aroface").as_posix() in SAFE, f"line {node.lineno}"
