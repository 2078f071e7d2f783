"""Who takes part, and a process for each library.

Two thread pools in one process fight (each spins while it waits for work), so every library runs
in a process of its own, and only the one whose turn it is does anything.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# Set in your shell, these would hinder one library more than another: --threads is for all.
THREAD_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "NUMBA_NUM_THREADS")


class Contestant(NamedTuple):
    """``peer`` is a module of ``benchmarks.peers``, ``variant`` one of its."""

    name: str
    peer: str
    variant: str = ""


OURS = Contestant("lighthead", "ours")
EAGER = (
    Contestant("PyTorch", "torch_peer", "contiguous"),
    Contestant("PyTorch channels-last", "torch_peer", "channels-last"),
)
FOLDED = Contestant("PyTorch folded", "torch_peer", "folded")
COMPILED = Contestant("PyTorch compiled", "torch_compiled")
ONNX = Contestant("ONNX Runtime", "onnx_peer")
OPENVINO = Contestant("OpenVINO", "openvino_peer")
MNN = Contestant("MNN", "mnn_peer")
NCNN = Contestant("ncnn", "ncnn_peer")
RUNTIMES = (ONNX, OPENVINO, MNN, NCNN)  # what reads ONNX models and only runs them
ALL = (OURS, *EAGER, FOLDED, COMPILED, *RUNTIMES)

# How long a worker may take to build a case; compiling may take minutes, or never end.
PATIENCE = 300.0


class PeerError(Exception):
    """A peer could not do what it was asked; the message is one line."""


class Process:
    """A running ``benchmarks.worker``; its methods can be called by name."""

    def __init__(self, peer: str):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(THREAD_SETTINGS)
        }
        environment["KINETO_LOG_LEVEL"] = "99"  # PyTorch's profiler is talkative
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", peer],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment,
        )  # fmt: skip

    def call(self, name: str, *arguments):
        """The result of the worker's method.

        Raises:
            PeerError: it raised, its process ended or took too long (and is ended then).
        """
        patience = threading.Timer(PATIENCE, self.process.kill)
        patience.start()
        begun = time.monotonic()
        try:
            pickle.dump((name, arguments), self.process.stdin, pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            if time.monotonic() - begun >= PATIENCE:
                raise PeerError(f"it took more than {PATIENCE:.0f} seconds") from error
            raise PeerError(f"its process ended with code {self.process.wait()}") from error
        finally:
            patience.cancel()
        if kind == "failed":
            raise PeerError(" ".join(value.split())[:300])
        return value

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End it, at once."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_) -> None:
        self.close()
