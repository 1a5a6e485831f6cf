"""Tests of what the pages refer to: python3 -m unittest discover -s scripts"""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# All pages that people read; whatever they link to, and each test that they name, must be there.
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / name for name in ("fuzz/README.md", "examples/ordering-upstream/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "envoy").rglob("*.md")),
]


# As long as names of tests: metrics, and settings of Envoy.
METRICS = ("twilio_webhook_", "envoy_")
SETTINGS = {"allow_on_headers_stop_iteration", "path_with_escaped_slashes_action", "per_connection_buffer_limit_bytes"}


def functions():
    """For each function the modules that have one of this name."""
    found = {}
    for folder in ("src", "tests", "fuzz/src", "fuzz/fuzz_targets"):
        for path in (ROOT / folder).rglob("*.rs"):
            modules = {*path.relative_to(ROOT).parent.parts, path.stem}
            for name in re.findall(r"\bfn (\w+)", path.read_text(encoding="utf-8")):
                found.setdefault(name, []).append(modules)
    return found


class ReferencesOfPages(unittest.TestCase):
    def test_each_test_that_a_page_names_exists(self):
        known = functions()
        pages_that_name_tests = set()
        for page in PAGES:
            named = re.findall(r"`((?:\w+::)*)([a-z][a-z0-9]*(?:_[a-z0-9]+){3,})`", page.read_text(encoding="utf-8"))
            for prefix, name in named:
                if name.startswith(METRICS) or name in SETTINGS or (not prefix and name.count("_") < 4):
                    continue
                pages_that_name_tests.add(page.name)
                with self.subTest(page=page.name, name=prefix + name):
                    modules = set(prefix.split("::")[:-1])
                    self.assertTrue(any(modules <= those for those in known.get(name, [])), "no such test")
        for page in ("threat-model.md", "soak.md", "operations.md", "memory.md"):
            self.assertIn(page, pages_that_name_tests)

    def test_each_file_that_a_page_links_exists(self):
        for page in PAGES:
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
                with self.subTest(page=page.name, link=link):
                    self.assertTrue((page.parent / link).exists())

    def test_each_heading_that_a_page_links_exists(self):
        def anchors(path):
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

        for page in PAGES:
            for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
                with self.subTest(page=page.name, link=f"{link}#{anchor}"):
                    target = page.parent / link if link else page
                    if target.suffix == ".md":
                        self.assertIn(anchor, anchors(target))

    def test_each_page_of_a_decision_is_in_the_index(self):
        index = (ROOT / "docs/design/README.md").read_text(encoding="utf-8")
        for page in (ROOT / "docs/design").glob("*.md"):
            if page.name != "README.md":
                self.assertIn(f"({page.name})", index)


if __name__ == "__main__":
    unittest.main()
