"""On what it was measured."""

import datetime
import json
import os
import pathlib
import platform
import re
import subprocess

from .prepare import ENVOY, EXPRESS, ROOT


def output(*command):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()


def package(name):
    return json.loads((EXPRESS / "node_modules" / name / "package.json").read_text(encoding="utf-8"))["version"]


def machine():
    cpu = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.+)$", cpu, re.MULTILINE)
    virtual = re.search(r"^flags\s*:.*\bhypervisor\b", cpu, re.MULTILINE)
    version = re.search(r"/(\d+\.\d+\.\d+)/", output(ENVOY, "--version"))
    return {
        "cpu": (model.group(1) if model else platform.machine()) + (", virtual" if virtual else ""),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "envoy": version.group(1) if version else "unknown",
        "node": output("node", "--version").lstrip("v"),
        "express": package("express"),
        "express-rate-limit": package("express-rate-limit"),
        "twilio": package("twilio"),
        "commit": output("git", "rev-parse", "--short", "HEAD"),
        "date": datetime.date.today().isoformat(),
    }
