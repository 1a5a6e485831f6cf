"""Tests of what scripts/bench computes and writes: python3 -m unittest discover -s scripts"""

import json
import re
import time
import unittest
from types import SimpleNamespace
from unittest import mock
from xml.etree import ElementTree

import replicas
from benchmark import measure, redis, report, servers
from benchmark.arithmetic import Spread, busy, compared, median, paired, quantile, summarise
from benchmark.chart import chart, step
from benchmark.servers import SERVERS
from benchmark.targets import targets
from benchmark.variants import BASE, VARIANTS, chosen
from processes import ROOT, Failure


def a_slice(cpu_us, latency_us=1000):
    return {
        "answers": 100,
        "cpu_ns": cpu_us * 100 * 1000,
        "wall_ns": cpu_us * 200 * 1000,
        "p50_ns": latency_us * 1000,
        "p99_ns": latency_us * 3000,
        "reconnected": 0,
        "alone_ns": [latency_us * 100] * 50,
    }


# Two rounds, the second on a machine that is half as fast.
MEASURED = {
    "envoy": [a_slice(50), a_slice(100)],
    "lua": [a_slice(60), a_slice(120)],
    "native-accepted": [a_slice(55), a_slice(112)],
    "filter-accepted": [a_slice(86), a_slice(172)],
    "then-accepted": [a_slice(90), a_slice(180)],
    "native-redis-accepted": [a_slice(105, 1200), a_slice(212, 1200)],
    "filter-redis-accepted": [a_slice(186, 1500), a_slice(312, 1700)],
    "then-redis-accepted": [a_slice(290, 2000), a_slice(380, 2000)],
    "native-forged": [a_slice(30), a_slice(60)],
    "ext-authz-accepted": [a_slice(300), a_slice(600)],
    "express-forged": [a_slice(250), a_slice(500)],
}
FIRST = {
    "envoy": [{"first_us": 500, "later_us": 100}],
    "native": [{"first_us": 550, "later_us": 100}, {"first_us": 650, "later_us": 100}],
}


def results():
    summary = summarise(MEASURED, "envoy")
    return SimpleNamespace(
        variants=[variant for variant in VARIANTS if variant.name in MEASURED],
        base="envoy",
        rounds=2,
        machine={name: "1" for name in "cpu cores kernel envoy node express express-rate-limit twilio date".split()},
        measured=MEASURED,
        summary=summary,
        busy={name: busy(slices) for name, slices in MEASURED.items()},
        first=FIRST,
        redis=report.redis(MEASURED),
        targets=targets(summary, FIRST, report.redis(MEASURED)),
    )


class Arithmetic(unittest.TestCase):
    def test_the_median_of_an_even_number_lies_between_the_two_in_the_middle(self):
        self.assertEqual(median([4, 1, 3, 2]), 2.5)
        self.assertEqual(median([3, 1, 2]), 2)

    def test_quartiles_lie_between_values(self):
        self.assertEqual(quantile([1, 2, 3, 4, 5], 0.25), 2)
        self.assertEqual(quantile([10, 20], 0.25), 12.5)
        self.assertEqual(quantile([7], 0.99), 7)

    def test_a_difference_is_taken_within_a_round_and_not_between_medians(self):
        # By the medians alone it would be 11 - 10 = 1, and the slow round would hide what each round shows.
        adds = paired([11, 12, 101], [10, 10, 100], lambda a, b: a - b)
        self.assertEqual(adds.median, 1)
        self.assertEqual(paired([5, 105, 6], [1, 100, 2], lambda a, b: a - b), Spread(4, 4, 4.5))

    def test_values_of_different_rounds_are_not_compared(self):
        with self.assertRaises(ValueError):
            paired([1, 2], [1], lambda a, b: a - b)

    def test_a_request_costs_the_time_of_all_divided_by_the_answers(self):
        cpu = summarise(MEASURED, "envoy")["lua"]["cpu"]
        self.assertEqual(cpu["takes"].median, 90)
        self.assertEqual(cpu["adds"], Spread(12.5, 15, 17.5))
        self.assertAlmostEqual(cpu["times"].median, 1.2)

    def test_two_variants_are_compared_within_a_round_too(self):
        cpu = compared([a_slice(11), a_slice(101)], [a_slice(10), a_slice(100)])["cpu"]
        self.assertEqual((cpu["takes"].median, cpu["beside"].median, cpu["adds"].median), (56, 55, 1))

    def test_a_core_that_others_use_too_is_less_busy_with_the_server(self):
        self.assertEqual(busy([a_slice(50), a_slice(70)]), 0.5)


class Targets(unittest.TestCase):
    def of(self, measured=MEASURED, first=FIRST):
        return targets(summarise(measured, "envoy"), first, report.redis(measured))

    def test_each_is_a_ratio_of_what_was_measured(self):
        ratios = [target.ratio for target in self.of()]
        redis = [75 / 200, 0, 120 / 200, 600 / 1000]
        expected = [8.5 / 60, 1.11, 8.5 / 15, 375 / 8.5, 45 / 375, 600 / 500, 54 / 60]
        for ratio, each in zip(ratios, expected, strict=False):
            self.assertAlmostEqual(ratio, each)
        self.assertAlmostEqual(ratios[len(expected)], redis[0])
        self.assertAlmostEqual(ratios[len(expected) + 2], redis[2])
        self.assertEqual(len(ratios), len(expected) + len(redis))
        self.assertEqual({target.word for target in self.of()}, {"reached"})

    def test_one_that_is_missed_says_so(self):
        measured = dict(MEASURED, **{"native-accepted": [a_slice(66), a_slice(132)]})
        words = [target.word for target in self.of(measured)]
        self.assertEqual(words[:5], ["not reached", "not reached", "not reached", "not reached", "reached"])

    def test_what_was_left_out_is_not_reached_and_not_missed(self):
        words = {target.word for target in self.of({"envoy": MEASURED["envoy"]}, {})}
        self.assertEqual(words, {"not measured"})

    def test_something_that_adds_nothing_is_no_measure(self):
        measured = dict(MEASURED, lua=[a_slice(50), a_slice(99)])
        self.assertEqual(self.of(measured)[2].word, "not measured")


class TheTable(unittest.TestCase):
    def test_a_line_has_median_quartiles_and_the_difference_with_its_sign(self):
        lua = report.rows(results().variants, results().summary, BASE)[1]
        self.assertEqual(lua[1:4], ["90.0 (75.0 … 105)", "+15.0 (+12.5 … +17.5)", "1.20"])

    def test_what_all_are_compared_with_is_not_compared_with_itself(self):
        self.assertEqual(report.rows(results().variants, results().summary, BASE)[0][2:4], ["", ""])

    def test_in_a_terminal_the_columns_are_aligned(self):
        lines = report.aligned(["", "b"], [["long name", "1"], ["x", "100"]]).splitlines()
        self.assertEqual(lines, ["             b", "long name    1", "x          100"])

    def test_in_markdown_every_line_has_as_many_cells(self):
        text = report.as_markdown(results())
        tables = [block for block in text.split("\n\n") if block.startswith("|")]
        self.assertEqual(len(tables), 4)
        for table in tables:
            self.assertEqual(len({line.count("|") for line in table.splitlines()}), 1, table)

    def test_who_closes_the_connection_is_said(self):
        closing = dict(a_slice(50), reconnected=100)
        measured = dict(MEASURED, **{"native-forged": [closing, closing]})
        text = report.closing(results().variants, measured)
        self.assertEqual(text, "Closed the connection after each answer: this filter, native: forged.")
        self.assertEqual(report.closing(results().variants, MEASURED), "")

    def test_what_redis_adds_stands_below_what_it_is_compared_with(self):
        rows = report.redis_rows(report.redis(MEASURED))
        self.assertEqual(len(rows), 9)
        wasm = [row for row in rows if row[0].startswith("WebAssembly: ")]
        said = [row[0].partition(": ")[2] for row in wasm]
        self.assertEqual(said, ["one Envoy's memory", "Redis", "Redis adds"])
        self.assertEqual(wasm[2][1:3], ["+120 (+110 … +130)", "+600 (+550 … +650)"])
        self.assertEqual({len(row) for row in rows}, {len(report.REDIS_HEADINGS)})
        self.assertIn("Redis adds", report.as_text(results()))
        self.assertIn("| WebAssembly: Redis adds | +120", report.as_markdown(results()))

    def test_without_both_there_is_no_line_about_redis(self):
        self.assertEqual(report.redis({"filter-accepted": MEASURED["filter-accepted"]}), {})
        only = {name: slices for name, slices in MEASURED.items() if "redis" not in name}
        variants = [variant for variant in VARIANTS if variant.name in only]
        changes = {"measured": only, "variants": variants, "redis": report.redis(only), "targets": []}
        text = report.as_text(SimpleNamespace(**{**vars(results()), **changes}))
        self.assertNotIn("Redis", text)

    def test_the_json_can_be_read_again(self):
        self.assertEqual(json.loads(report.as_json(results()))["summary"]["lua"]["cpu"]["adds"]["median"], 15)

    def test_the_page_changes_between_the_markers_only(self):
        page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        new = report.between_markers(page, "new", "page.md")
        self.assertEqual(new, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.between_markers(new, "new", "page.md"), new)

    def test_a_run_that_others_disturbed_says_so(self):
        self.assertEqual(report.disturbed(0.9), "")
        self.assertIn("26% of the time", report.disturbed(0.26))

    def test_a_page_without_markers_is_left_alone(self):
        with self.assertRaises(Failure):
            report.between_markers("no markers", "new", "page.md")

    def test_the_pages_that_are_there_have_them(self):
        for name in ("docs/performance.md", "README.md"):
            report.between_markers((ROOT / name).read_text(encoding="utf-8"), "new", name)


class ThePicture(unittest.TestCase):
    def setUp(self):
        bars = [("envoy", "a < b & c", Spread(45, 50, 60)), ("filter-accepted", "f", Spread(90, 100, 200))]
        self.svg = chart(bars, "quartiles & median")
        self.tree = ElementTree.fromstring(self.svg)

    def all(self, name):
        return self.tree.findall(f"{{http://www.w3.org/2000/svg}}{name}")

    def test_it_is_well_formed_and_holds_every_name_title_and_unit(self):
        texts = [text.text for text in self.all("text")]
        for expected in ("a < b & c", "f", "quartiles & median", "Processor time for one request", "µs", "50.0", "100"):
            self.assertIn(expected, texts)

    def test_bars_are_as_long_as_their_medians(self):
        card, *bars = self.all("rect")
        self.assertEqual(card.get("fill"), "#ffffff")
        first, second = (float(bar.get("width")) for bar in bars)
        self.assertAlmostEqual(second / first, 2, delta=0.01)

    def test_nothing_reaches_over_the_edge(self):
        width = float(self.tree.get("width"))
        for text in self.all("text"):
            self.assertLess(float(text.get("x")), width)
        for place in re.findall(r"[MH]([0-9.]+)", self.svg):
            self.assertLess(float(place), width)

    def test_the_scale_has_at_most_ten_lines(self):
        self.assertEqual([step(most) for most in (9, 10, 11, 99, 560, 1001)], [1, 1, 2, 10, 100, 200])


class TheVariants(unittest.TestCase):
    def test_names_are_unique_and_every_server_is_there(self):
        names = [variant.name for variant in VARIANTS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({variant.server for variant in VARIANTS}, set(SERVERS))

    def test_the_filter_and_express_are_sent_the_same(self):
        def sent(server):
            ours = [variant for variant in VARIANTS if variant.server in (server, f"{server}-limited")]
            return [(variant.kind, variant.expected, variant.repeats, variant.allowance) for variant in ours]

        self.assertEqual(sent("filter"), sent("express"))
        self.assertEqual(sent("native"), sent("express"))
        self.assertEqual(len(sent("filter")), 5)

    def test_some_are_chosen_by_name_or_by_server_and_envoy_alone_is_always_there(self):
        names = [variant.name for variant in chosen(["lua", "ext-authz"])]
        self.assertEqual(names, ["envoy", "lua", "ext-authz-accepted", "ext-authz-forged"])
        self.assertEqual(chosen([], then=True), VARIANTS)
        self.assertNotIn("then-accepted", [variant.name for variant in chosen([])])
        with self.assertRaises(ValueError):
            chosen(["nginx"])

    def test_each_begins_a_round_and_none_always_follows_the_same(self):
        rounds = [measure.order(list("abc"), number) for number in range(6)]
        self.assertTrue(all(sorted(each) == list("abc") for each in rounds))
        before_b = {each[each.index("b") - 1] for each in rounds if each.index("b") > 0}
        self.assertEqual(before_b, {"a", "c"})


def shipped(value):
    """An envoy.yaml with one of everything, and this configuration of the filter."""
    entry = {
        "name": "twilio_webhook_filter",
        "typed_config": {
            "config": {
                "vm_config": {"code": {"local": {"filename": "shipped.wasm"}}},
                "configuration": {"value": json.dumps(value)},
            }
        },
    }
    manager = {"http_filters": [entry, {"name": "router"}]}

    def cluster(name):
        endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}
        return {"name": name, "load_assignment": {"endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}}

    return {
        "admin": {"address": {}},
        "static_resources": {
            "listeners": [{"address": {}, "filter_chains": [{"filters": [{"typed_config": manager}]}]}],
            "clusters": [cluster("ordering_upstream"), cluster("redis_over_http")],
        },
    }


def shipped_native(value):
    config = shipped(value)
    entry = servers.filter_of(servers.manager_of(config))
    entry["typed_config"] = {
        "dynamic_module_config": {"module": {"local": {"filename": "shipped.so"}}},
        "filter_name": "twilio_webhook_filter",
        "filter_config": {"value": json.dumps(value)},
    }
    return config


class TheServers(unittest.TestCase):
    def test_the_native_filter_has_the_same_settings_and_with_redis_the_same_store(self):
        store = {"type": "redis", "cluster": "redis_over_http", "timeout": "0.1s"}
        filters = servers.native_filter(servers.NO_LIMIT, store)
        config = servers.configuration(shipped_native({"log": {"accepted": True}}), 2, 3, 4, filters)
        typed = servers.filter_of(servers.manager_of(config))["typed_config"]
        self.assertEqual(typed["dynamic_module_config"]["module"]["local"]["filename"], servers.NATIVE)
        plugin = json.loads(typed["filter_config"]["value"])
        wasm = self.filter_of({"log": {"accepted": True}, "store": store})
        self.assertEqual(plugin, wasm)

    def test_the_signature_check_in_lua_is_that_of_the_file(self):
        (entry,) = servers.lua_filter("source")(None)
        self.assertEqual(entry["typed_config"]["default_source_code"], {"inline_string": "source"})
        self.assertIn("envoy_on_request", servers.LUA_CHECK.read_text(encoding="utf-8"))

    def filter_of(self, value):
        config = servers.configuration(shipped(value), 2, 3, 4, servers.this_filter(servers.NO_LIMIT))
        entry = servers.filter_of(servers.manager_of(config))
        return json.loads(entry["typed_config"]["config"]["configuration"]["value"])

    def test_the_filter_logs_as_it_does_by_default(self):
        plugin = self.filter_of({"exempt_paths": ["/healthz"], "log": {"accepted": True}})
        self.assertNotIn("log", plugin)
        self.assertEqual(plugin["exempt_paths"], ["/healthz"])
        self.assertNotIn("store", plugin)

    def test_with_redis_the_store_is_the_shipped_one_that_waits_longer(self):
        plugin = self.filter_of({"store": {"type": "redis", "cluster": "redis_over_http", "timeout": "0.1s"}})
        self.assertEqual(plugin["store"], {"type": "redis", "cluster": "redis_over_http", "timeout": redis.TIMEOUT})

    def test_the_cluster_leads_to_the_webdis_of_the_run_and_the_upstream_stays(self):
        config = shipped({})
        redis.point_to(config, 7)
        ports = [
            cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"][
                "port_value"
            ]
            for cluster in config["static_resources"]["clusters"]
        ]
        self.assertEqual(ports, [1, 7])

    def test_redis_and_webdis_have_the_shipped_files_but_for_ports_and_passwords(self):
        conf = replicas.redis_conf(5, "/d", "s3cret")
        for line in ("port 5", 'dir "/d"', "maxmemory-policy noeviction", "appendonly yes", "appendfsync everysec"):
            self.assertIn(f"\n{line}\n", conf)
        self.assertIn("on >s3cret ", conf)
        text = (ROOT / "envoy/redis/webdis.json").read_text(encoding="utf-8")
        settings = json.loads(replicas.webdis_json(6, 5, "s3cret", "other"))
        self.assertEqual((settings["http_port"], settings["redis_port"], settings["redis_auth"]), (6, 5, "s3cret"))
        self.assertEqual(settings["acl"][1]["http_basic_auth"], "envoy:other")
        self.assertEqual(settings["threads"], json.loads(text)["threads"])


class TheNumbersOfMessages(unittest.TestCase):
    def test_no_number_is_given_out_twice(self):
        numbers = measure.Numbers()
        self.assertEqual([numbers.take(10), numbers.take(5), numbers.take(1)], [1, 11, 16])

    def test_what_a_server_accepted_can_be_repeated_there_and_only_there(self):
        numbers = measure.Numbers()
        numbers.accept("filter", 7, 30)
        numbers.accept("filter", 40, 3)
        self.assertEqual(numbers.accepted_by("filter", 3), 40)
        self.assertEqual(numbers.accepted_by("filter", 4), 7)
        self.assertIsNone(numbers.accepted_by("filter", 31))
        self.assertIsNone(numbers.accepted_by("express", 1))

    def test_a_server_that_would_have_to_remember_too_much_is_waited_for(self):
        numbers = measure.Numbers()
        with mock.patch.multiple(measure, REMEMBERED=10, WINDOW=0.05):
            started = time.monotonic()
            numbers.accept("filter", 1, 6)
            numbers.accept("express", 7, 6)
            self.assertLess(time.monotonic() - started, 0.05)
            numbers.accept("filter", 13, 6)
            self.assertGreaterEqual(time.monotonic() - started, 0.05)

    def test_what_a_server_may_have_forgotten_is_not_repeated(self):
        numbers = measure.Numbers()
        numbers.accepted["filter"].append((time.monotonic() - measure.WINDOW, 1, 10))
        self.assertIsNone(numbers.accepted_by("filter", 10))


if __name__ == "__main__":
    unittest.main()
