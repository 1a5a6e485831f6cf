"""Servers as processes on one core, away from what sends to them."""

import os
import socket

from processes import Failure, Processes, end_with_parent

from .prepare import BENCH


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


class OnCore(Processes):
    """What they say to standard error goes to target/bench/<name>.log. Standard output is Envoy's access log, which is
    written but not kept: a run has millions of lines."""

    def __init__(self, core):
        super().__init__(BENCH)
        self.core = core

    def start(self, name, command, environment):
        def settle():
            os.sched_setaffinity(0, {self.core})
            end_with_parent()

        return super().start(name, command, environment, os.devnull, settle)
