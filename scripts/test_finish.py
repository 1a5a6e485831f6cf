"""Tests of finish: python3 -m unittest discover -s scripts"""

import types
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "finish"
finish = types.ModuleType("finish")
# The script has no suffix, so that `import` does not find it.
exec(compile(SCRIPT.read_text(), SCRIPT, "exec"), finish.__dict__)

# A function that calls nothing.
BODY = bytes([5, 0, 0x41, 0, 0x1A, 0x0B])


def section(kind, content):
    return bytes([kind]) + finish.number_bytes(len(content)) + content


def module(names, bodies, elements=b""):
    """A module with one import and a function for each name."""
    imports = bytes([1, 3]) + b"env" + bytes([1]) + b"f" + bytes([0, 0])
    exports = [(name, 0, index) for index, name in enumerate(names, 1)]
    code = finish.number_bytes(len(bodies)) + b"".join(bodies)
    return (
        b"\0asm\x01\0\0\0"
        + section(2, imports)
        + section(7, finish.write_exports(exports))
        + (section(9, elements) if elements else b"")
        + section(10, code)
    )


NAMES = [*sorted(finish.USED), finish.OWN, "proxy_on_log"]
LOG = len(NAMES)


def exports_and_code(module):
    content = dict(finish.sections_of(module))
    return {name: index for name, _, index in finish.read_exports(content[7])}, content[10]


class Finish(unittest.TestCase):
    def test_only_what_is_used_stays_exported_and_the_filters_own_callback_takes_the_place_of_the_sdks(self):
        exports, code = exports_and_code(finish.finished(module(NAMES, [BODY] * LOG)))
        self.assertEqual(set(exports), finish.USED)
        self.assertEqual(exports[finish.REPLACED], NAMES.index(finish.OWN) + 1)
        # Of what is exported no more, the bodies are gone: the SDK's two callbacks.
        self.assertEqual(code.count(finish.NOTHING), 2)

    def test_a_function_that_is_called_or_in_a_table_keeps_its_body(self):
        for padded in (False, True):
            number = bytes([LOG | 0x80, 0x80, 0x80, 0x80, 0]) if padded else bytes([LOG])
            call = bytes([3 + len(number), 0, 0x10]) + number + bytes([0x0B])
            _, code = exports_and_code(finish.finished(module(NAMES, [call] + [BODY] * (LOG - 1))))
            self.assertEqual(code.count(finish.NOTHING), 1)
        _, code = exports_and_code(finish.finished(module(NAMES, [BODY] * LOG, bytes([1, 0, 0x41, 0, 0x0B, 1, LOG]))))
        self.assertEqual(code.count(finish.NOTHING), 1)

    def test_a_finished_module_stays_as_it_is(self):
        once = finish.finished(module(NAMES, [BODY] * LOG))
        self.assertEqual(finish.finished(once), once)

    def test_what_is_no_module_and_one_without_a_callback_are_refused(self):
        self.assertRaises(SystemExit, finish.finished, b"text")
        without = [name for name in NAMES if name != "proxy_on_tick"]
        self.assertRaises(SystemExit, finish.finished, module(without, [BODY] * len(without)))


if __name__ == "__main__":
    unittest.main()
