"""Tests of what several files have to say alike: python3 -m unittest discover -s scripts"""

import html
import json
import re
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tests", "benches", "examples", "fuzz")


class RustVersion(unittest.TestCase):
    """What is promised is what is tested: the toolchain that everything is built with is the oldest that is supported."""

    def setUp(self):
        toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))
        self.channel = toolchain["toolchain"]["channel"]

    def test_each_manifest_has_the_toolchain_for_its_rust_version(self):
        below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("Cargo.toml")]
        manifests = [ROOT / "Cargo.toml", *(path for path in below if "target" not in path.relative_to(ROOT).parts)]
        self.assertGreater(len(manifests), len(FOLDERS))
        for path in manifests:
            with self.subTest(manifest=str(path.relative_to(ROOT))):
                package = tomllib.loads(path.read_text(encoding="utf-8"))["package"]
                self.assertEqual(package.get("rust-version"), self.channel.rpartition(".")[0])

    def test_the_image_of_the_example_is_built_with_the_toolchain(self):
        text = (ROOT / "examples/ordering-upstream/Dockerfile").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"(?m)^FROM rust:([0-9.]+)-", text), [self.channel])


class Compatibility(unittest.TestCase):
    def test_the_table_in_the_readme_is_that_of_the_page(self):
        def rows(page, columns):
            lines = re.findall(r"(?m)^\| (1\.\d+ \|.*) \|$", (ROOT / page).read_text(encoding="utf-8"))
            return [[line.split(" | ")[column] for column in columns] for line in lines]

        short = rows("README.md", (0, 1, 2, 3, 4))
        self.assertGreater(len(short), 3)
        long = rows("docs/versions.md", (0, 2, 3, 4, 5))
        self.assertEqual(short, [[cell.replace("passes", "yes") for cell in row] for row in long])


class Dashboard(unittest.TestCase):
    def test_the_picture_has_every_panel(self):
        dashboard = json.loads((ROOT / "envoy/observability/dashboard.json").read_text(encoding="utf-8"))
        picture = (ROOT / "docs/images/dashboard.svg").read_text(encoding="utf-8")
        for panel in dashboard["panels"]:
            with self.subTest(panel=panel["title"]):
                self.assertIn(f">{html.escape(panel['title'])}<", picture)


class EditorConfig(unittest.TestCase):
    def test_python_without_a_suffix_has_the_indent_of_python(self):
        text = (ROOT / ".editorconfig").read_text(encoding="utf-8")
        names = re.search(r"(?m)^\[scripts/\{([^}]*)\}\]\nindent_size = 4$", text).group(1).split(",")
        plain = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix]
        python = [path.name for path in plain if path.read_bytes().startswith(b"#!/usr/bin/env python3")]
        self.assertEqual(sorted(names), sorted(python))


if __name__ == "__main__":
    unittest.main()
