"""The server's command line: `init` a trust domain, `run`, and issue a `token`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from pathlib import Path

from transom_server.config import Config, ConfigError, load


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(prog="transom-server", description="Transom's control plane")
    verbs = root.add_subparsers(dest="verb", required=True)
    init = verbs.add_parser("init", help="create a state folder: authority, certificates, keys")
    run = verbs.add_parser("run", help="serve until SIGTERM")
    token = verbs.add_parser("token", help="print an access token for the client certificate of the state folder")
    for verb in (init, run, token):
        verb.add_argument("--state", type=Path, required=True, help="the state folder")
        verb.add_argument("--trust-domain", help="name of the trust domain (default: transom.internal)")
    run.add_argument("--config", type=Path, help="a TOML file with further settings; see docs/operations.md")
    run.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    run.add_argument("--port", type=int, help="port to listen on; 0 lets the system choose (default: 7443)")
    run.add_argument("--exit-with-parent", action="store_true", help="drain and exit when standard input ends")
    token.add_argument("--subject", default="local", help="who the token speaks for")
    token.add_argument("--tenant", default="default")
    token.add_argument("--role", action="append", choices=("viewer", "caller", "operator"), help="may be repeated (default: caller)")
    token.add_argument("--lifetime", type=int, default=900, help="seconds (default: 900)")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    return carry_out(parser().parse_args(arguments))


def carry_out(options: argparse.Namespace) -> int:
    """Do what was asked, here or as `transom server`; returns the exit code."""
    try:
        if options.verb == "init":
            return _init(options)
        if options.verb == "token":
            return _token(options)
        config = load(options.config, state=str(options.state), trust_domain=options.trust_domain, host=options.host, port=options.port)
        return _run(config, exit_with_parent=options.exit_with_parent)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _init(options: argparse.Namespace) -> int:
    from transom_server.identity.authority import initialise

    try:
        initialise(options.state, options.trust_domain or Config(state="").trust_domain)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _token(options: argparse.Namespace) -> int:
    from transom_server.identity.caller import thumbprint
    from transom_server.identity.tokens import TokenIssuer, load_key

    try:
        key = load_key(options.state / "token.key")
        certificate = (options.state / "client.pem").read_bytes()
    except OSError:
        raise ConfigError("the state folder is not initialised; run `transom-server init` first") from None
    issuer = TokenIssuer(key, options.trust_domain or Config(state="").trust_domain)
    bound = thumbprint(certificate)
    token = issuer.issue(
        options.subject, options.role or ["caller"], tenant=options.tenant, thumbprint=bound, lifetime_s=options.lifetime
    )  # fmt: skip
    print(token)  # noqa: T201
    return 0


def _run(config: Config, *, exit_with_parent: bool) -> int:
    from transom_wire.logs import configure

    if not (Path(config.state) / "ca.pem").exists():
        raise ConfigError("the state folder is not initialised; run `transom-server init` first")
    configure(config.log_level)
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_serve(config, exit_with_parent=exit_with_parent))
    return uvloop.run(_serve(config, exit_with_parent=exit_with_parent))


async def _serve(config: Config, *, exit_with_parent: bool) -> int:
    from transom_wire.trimming import collect_rarely

    from transom_server.app import App
    from transom_server.listener import PortTaken

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_parent:
        # A thread, since standard input may be a file or a terminal; it ends with the process.
        threading.Thread(target=_wait_for_end_of_input, args=(loop, stop), daemon=True).start()
    try:
        app = App(config)
        await app.start()
    except (PortTaken, OSError) as error:
        text = str(error) if isinstance(error, PortTaken) else "a port or file cannot be opened"
        print(f"error: {text}", file=sys.stderr)  # noqa: T201
        return 1
    collect_rarely()
    await stop.wait()
    await app.drain()
    await app.close()
    return 0


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    loop.call_soon_threadsafe(stop.set)


if __name__ == "__main__":
    raise SystemExit(main())
