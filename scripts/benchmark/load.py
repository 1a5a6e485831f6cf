"""The process that sends, and that is the upstream: benches/load."""

import json
import subprocess

from processes import Failure

from .prepare import LOAD, ROOT


def yaml(file):
    """A YAML file as Python's values; Python itself has no parser for it."""
    return json.loads(subprocess.run([LOAD, "yaml", file], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


class Load:
    """Inherits this script's core."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [LOAD, "run"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.upstream = self._read()["upstream"]
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure("benches/load has ended.")
        return json.loads(line)

    def run(self, **slice_of_load):
        """Sends; returns what was measured. A wrong status, or a request that is not where it should be, ends the run,
        because the numbers would be those of something else."""
        self.process.stdin.write(json.dumps(slice_of_load) + "\n")
        self.process.stdin.flush()
        measured = self._read()
        if "error" in measured:
            raise Failure(measured["error"])
        return measured
