"""Child processes that end with the script that started them, and what ends the script itself."""

import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Failure(Exception):
    """Something that the person has to mend; its text says what."""


def run(*command, target):
    """Runs a command that builds something into `target`: what it builds is named by its path afterwards, so nobody's
    cargo settings may put it elsewhere."""
    environment = dict(os.environ, CARGO_TARGET_DIR=str(target))
    if subprocess.run(command, cwd=ROOT, env=environment).returncode != 0:
        raise Failure(f"failed: {' '.join(map(str, command))}")


def end_with_parent():
    """Has Linux end the child if this script is killed in a way that it cannot catch."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Processes:
    """The processes started here. Leaving the `with` block ends them, however it is left."""

    def __init__(self, logs):
        self.logs = logs
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _, process, _ in reversed(self.running):
            process.terminate()
        for _, process, _ in reversed(self.running):
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name, command, environment, output=None, before=end_with_parent):
        """Starts it; what it says goes to the log of its name, and its standard output to `output` where that is given.
        `before` runs in the child."""
        log = self.logs / f"{name.lower().replace(' ', '-')}.log"
        with open(log, "wb") as err, open(output or log, "ab") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if output else out,
                # Ctrl-C is for this script, which then ends the others in order.
                start_new_session=True,
                preexec_fn=before,
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
                raise Failure(
                    f"{name} ended with status {process.returncode}. From {log.relative_to(ROOT)}:\n  " + "\n  ".join(tail)
                )

    def wait_until(self, ready, what, seconds=30):
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"{what} was not ready after {seconds} s; see {self.logs.relative_to(ROOT)}/*.log.")
            time.sleep(0.02)
