"""Servers as processes on one core, away from what sends to them."""

import ctypes
import os
import signal
import socket
import subprocess
import time

from .failure import Failure
from .prepare import BENCH, ROOT


def choose_cores():
    """One core for the servers, another for what sends to them."""
    if not hasattr(os, "sched_getaffinity"):
        raise Failure("this needs Linux: it puts processes on cores and reads their clocks.")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise Failure("this needs two cores: one for the servers, one for what sends to them.")
    return cores[0], cores[1]


_next_port = 10_100 + os.getpid() % 200 * 100


def free_port():
    """Below the range from which the kernel takes its own, so that nobody takes it between now and its use."""
    global _next_port
    for _ in range(20_000):
        _next_port = 10_100 + (_next_port - 10_099) % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _next_port))
                return _next_port
            except OSError:
                pass
    raise Failure("there is no free port on 127.0.0.1.")


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Processes:
    """The processes started here. Leaving the `with` block ends them, however it is left."""

    def __init__(self, core):
        self.core = core
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, process, _ in self.running:
            process.terminate()
        for _, process, _ in self.running:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name, command, environment):
        """Starts it on the core; what it says to standard error goes to target/bench/<name>.log. Standard output is
        Envoy's access log, which is written but not kept: a run has millions of lines."""

        def settle():
            os.sched_setaffinity(0, {self.core})
            # Ends it if this script is killed in a way that it cannot catch.
            ctypes.CDLL(None).prctl(1, signal.SIGTERM)

        log = BENCH / f"{name}.log"
        with open(log, "wb") as err:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
                preexec_fn=settle,
            )
        self.running.append((name, process, log))
        return process.pid

    def check(self):
        """Fails if one has ended by itself."""
        for name, process, log in self.running:
            if process.poll() is not None:
                lines = log.read_text(errors="replace").splitlines()
                # Envoy begins with pages about what is compiled in.
                tail = [line[:400] for line in lines if "[info]" not in line][-12:] or lines[-5:]
                raise Failure(f"{name} ended with status {process.returncode}:\n  " + "\n  ".join(tail))

    def wait_until(self, ready, what, seconds=30):
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{what} was not ready after {seconds} s; see target/bench/*.log.")
            time.sleep(0.02)
