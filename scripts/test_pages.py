"""Tests of what the pages refer to: python3 -m unittest discover -s scripts"""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "docs/threat-model.md", *sorted((ROOT / "docs/design").glob("*.md"))]

# All pages that people read; whatever they link to must be there.
LINKING = [
    *PAGES,
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "fuzz/README.md", "examples/ordering-upstream/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "envoy").rglob("*.md")),
]


def functions():
    found = set()
    for folder in ("src", "tests", "fuzz/src", "fuzz/fuzz_targets"):
        for path in (ROOT / folder).rglob("*.rs"):
            found.update(re.findall(r"\bfn (\w+)", path.read_text(encoding="utf-8")))
    return found


class ReferencesOfPages(unittest.TestCase):
    def test_each_test_that_a_page_names_exists(self):
        known = functions()
        for page in PAGES:
            for name in re.findall(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+){4,})`", page.read_text(encoding="utf-8")):
                with self.subTest(page=page.name, name=name):
                    self.assertTrue(name in known, f"{name}: no such test")

    def test_each_file_that_a_page_links_exists(self):
        for page in LINKING:
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
                with self.subTest(page=page.name, link=link):
                    self.assertTrue((page.parent / link).exists())

    def test_each_heading_that_a_page_links_exists(self):
        def anchors(path):
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

        for page in LINKING:
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
