"""Debian's docker-registry on a free port of loopback, and skopeo to push to it and to pull from it."""

import pathlib
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "target/tools"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """A registry with its files in `folder`, until it is closed."""

    def __init__(self, folder):
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / "registry.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: {self.address}}}\n",
            encoding="utf-8",
        )
        self.log = open(folder / "registry.log", "wb")
        self.process = subprocess.Popen(
            [str(TOOLS / "docker-registry"), "serve", str(config)], stdout=self.log, stderr=self.log
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://{self.address}/v2/", timeout=2).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError((folder / "registry.log").read_text(errors="replace")) from None
                time.sleep(0.05)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.log.close()

    def copy(self, source, target):
        """By skopeo, every platform, and not a byte of a manifest changed."""
        done = subprocess.run(
            [str(TOOLS / "skopeo"), "copy", "--quiet", "--insecure-policy", "--all", "--preserve-digests"]
            + ["--src-tls-verify=false", "--dest-tls-verify=false", source, target],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"skopeo copy {source} {target}: {done.stdout}")

    def push(self, layout, tag, repository="filter"):
        self.copy(f"oci:{layout}:{tag}", f"docker://{self.address}/{repository}:{tag}")

    def pull(self, tag, layout, repository="filter"):
        self.copy(f"docker://{self.address}/{repository}:{tag}", f"oci:{layout}:{tag}")
