"""Run a parameter server for task sites on this or other machines.

It holds the parameters by name, waits until --tasks sites have joined, and then applies in every
iteration v = beta v + sum of the tasks' contributions, W = W - v. It ends when all tasks are done.

With --folder it keeps snapshots there, a diary (events.jsonl) and, in the end, curves.png. Started
again on the same folder, after a crash or Ctrl-C, it goes on where the last snapshot was taken;
the sites join again by themselves and end in the same bits.

An address that other machines can reach needs a token, which the sites must know, and TLS
(--certificate and --key). --insecure-lan gives up TLS: everybody on the way can then read the
weights, though not change them unnoticed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from detector.errors import UserError
from detector.folder_lock import alone_in
from detector.interruption import Interrupted
from detector.own_files import check_free
from multitask.commands.curves import draw_history
from multitask.commands.options import add_token, token_of, user_errors
from multitask.commands.view import View
from multitask.core.rules import LARS, Adam, Momentum, Rule
from multitask.server.events import Diary, history, read_events, stamped
from multitask.server.policy import Policy
from multitask.server.server import ParameterServer
from multitask.wire import authentication, transport

EXAMPLES = """examples:
  lighthead serve --tasks 2 --folder runs/server
  python -c "import secrets; print(secrets.token_hex(32))" > token; chmod 600 token
  lighthead serve --tasks 2 --address 0.0.0.0:29500 --token-file token \\
      --certificate server.pem --key server.key --folder runs/server
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks", type=int, required=True, metavar="N", help="training starts with so many"
    )
    parser.add_argument(
        "--address",
        default="127.0.0.1:29500",
        metavar="A",
        help="HOST:PORT or unix:PATH (default: %(default)s, this machine only)",
    )
    parser.add_argument("--folder", metavar="DIR", help="for snapshots, diary and curves")
    parser.add_argument("--json", action="store_true", help="print every event as a line of JSON")
    safety = parser.add_argument_group("who may join")
    add_token(safety)
    safety.add_argument("--certificate", metavar="PEM", help="of this server, for TLS")
    safety.add_argument("--key", metavar="PEM", help="that belongs to it")
    safety.add_argument(
        "--insecure-lan",
        action="store_true",
        help="listen on a network without TLS: everybody on the way can read the weights",
    )
    rule = parser.add_argument_group("the update")
    rule.add_argument("--rule", choices=("momentum", "adam", "lars"), default="momentum")
    rule.add_argument("--momentum", type=float, default=0.9, metavar="B", help="beta (default 0.9)")
    rule.add_argument("--lr", type=float, metavar="X", help="of adam and lars")
    rule.add_argument(
        "--on-conflict",
        default="error",
        metavar="P",
        help="where tasks start a name from different values: error, lowest-task or owner=TASK",
    )
    policy = parser.add_argument_group("when something goes wrong")
    defaults = Policy()
    policy.add_argument(
        "--rejoin-timeout",
        type=float,
        default=defaults.rejoin_timeout,
        metavar="S",
        help="seconds to wait for a task that is gone (default: %(default)g)",
    )
    policy.add_argument(
        "--on-lost",
        choices=("stop", "evict"),
        default=defaults.on_lost,
        help="and then: stop, or go on without it, which changes the results",
    )
    policy.add_argument(
        "--straggler-timeout",
        type=float,
        metavar="S",
        help="treat a task like a lost one that others wait for so long (default: never)",
    )
    policy.add_argument(
        "--on-nan",
        choices=("stop", "skip"),
        default=defaults.on_non_finite,
        help="stop at NaN or infinity, or skip what the task contributes (default: stop)",
    )
    policy.add_argument(
        "--snapshot-every",
        type=int,
        default=defaults.snapshot_every,
        metavar="N",
        help="iterations (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    folder = Path(args.folder) if args.folder else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    view = None if args.json else View()
    alone = alone_in(folder, "another server", "--folder") if folder else contextlib.nullcontext()
    with user_errors(), alone:
        if folder and not (folder / "events.jsonl").exists():  # where there is one, all is our own
            check_free(folder / "curves.png", is_own=lambda path: False)
        server = build_server(args, folder, reporter(folder, view))
        announce(args, server)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        try:
            server.serve()
            server.save()
        finally:
            if view:
                view.close()
            if folder:
                draw(folder)
    if not server.over:
        way_out = "; the same command goes on" if folder else " without a --folder: all is lost"
        raise Interrupted(f"stopped{way_out}")
    return 0


def draw(folder: Path) -> None:
    """Leave the curves; a full disk must not hide how training has ended."""
    try:
        draw_history(history(read_events(folder / "events.jsonl")), folder / "curves.png")
    except OSError as error:
        print(f"no curves: {error}", file=sys.stderr)


def build_server(
    args: argparse.Namespace, folder: Path | None, report: Callable[[dict], None]
) -> ParameterServer:
    """The server that the options describe.

    Raises:
        UserError: they contradict each other, or make no sense.
    """
    if bool(args.certificate) != bool(args.key):
        raise UserError("TLS needs both --certificate and --key")
    try:
        return ParameterServer(
            args.tasks,
            args.address,
            rule_of(args),
            on_conflict=args.on_conflict,
            token=token_of(args),
            tls=transport.server_tls(args.certificate, args.key) if args.certificate else None,
            insecure_lan=args.insecure_lan,
            snapshots=folder / "snapshots" if folder else None,
            policy=Policy(
                rejoin_timeout=args.rejoin_timeout,
                on_lost=args.on_lost,
                straggler_timeout=args.straggler_timeout,
                on_non_finite=args.on_nan,
                snapshot_every=args.snapshot_every,
            ),
            report=report,
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def rule_of(args: argparse.Namespace) -> Rule:
    if args.rule == "momentum":
        if args.lr is not None:
            raise UserError("with momentum each task has a learning rate of its own: no --lr here")
        return Momentum(args.momentum)
    if args.lr is None:
        raise UserError(f"--rule {args.rule} needs --lr, the size of its steps")
    return Adam(args.lr) if args.rule == "adam" else LARS(args.lr, args.momentum)


def reporter(folder: Path | None, view: View | None) -> Callable[[dict], None]:
    """What the server calls with every event."""
    diary = Diary(folder / "events.jsonl") if folder else lambda event: None

    def report(event: dict) -> None:
        diary(event)
        if view:
            view(event)
        else:
            print(json.dumps(stamped(event)), flush=True)

    return report


def announce(args: argparse.Namespace, server: ParameterServer) -> None:
    if args.json:
        return
    print(f"the parameter server is at {server.address} and waits for {args.tasks} tasks")
    if not token_of(args) and not server.address.startswith("unix:"):
        print(f"without a token: every user of this machine may join ({authentication.ADVICE})")
    if args.insecure_lan and not args.certificate:
        print("without TLS: everybody on the way can read the weights")
