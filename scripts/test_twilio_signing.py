"""Tests of twilio_signing: python3 -m unittest discover -s scripts"""

import json
import pathlib
import unittest
from urllib.parse import parse_qsl

import twilio_signing as twilio

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "vectors" / "official.json"


def params_of(case):
    return [tuple(pair) for pair in case.get("params", [])]


class TheOfficialVectors(unittest.TestCase):
    def setUp(self):
        self.cases = json.loads(VECTORS.read_text(encoding="utf-8"))
        self.assertEqual(len(self.cases), 51)

    def test_every_valid_signature_is_the_one_made_here(self):
        for case in self.cases:
            if case["valid"]:
                with self.subTest(case["source"]):
                    made = twilio.signature(case["token"], case.get("signed_url", case["url"]), params_of(case))
                    self.assertEqual(made, case["signature"])

    def test_no_invalid_signature_of_a_form_is_the_one_made_here(self):
        for case in self.cases:
            if not case["valid"] and "params" in case:
                with self.subTest(case["source"]):
                    made = twilio.signature(case["token"], case.get("signed_url", case["url"]), params_of(case))
                    self.assertNotEqual(made, case["signature"])

    def test_the_body_hash_is_appended_as_twilio_appends_it(self):
        for case in self.cases:
            if case["valid"] and "bodySHA256" in case["url"]:
                with self.subTest(case["source"]):
                    bare = case["url"].partition("bodySHA256")[0].rstrip("?&")
                    self.assertEqual(twilio.with_body_hash(bare, case["body"].encode()), case["url"])


class WhatIsSigned(unittest.TestCase):
    def test_names_are_sorted_and_not_names_with_their_values(self):
        signed = twilio.string_to_sign("u", [("ReasonConferenceEnded", "test"), ("Reason", "Participant")])
        self.assertEqual(signed, b"uReasonParticipantReasonConferenceEndedtest")

    def test_a_repeated_name_counts_once_for_each_distinct_value_in_order(self):
        self.assertEqual(twilio.string_to_sign("u", [("a", "2"), ("a", "1"), ("a", "2")]), b"ua1a2")

    def test_empty_values_count(self):
        self.assertEqual(twilio.string_to_sign("u", [("b", ""), ("a", "")]), b"uab")

    def test_a_fragment_is_neither_signed_nor_sent(self):
        webhook = twilio.form_webhook("t", "https://h/p?q=1#rc=2", [("a", "b")])
        self.assertEqual(webhook.target, "/p?q=1")
        self.assertEqual(
            webhook.headers["x-twilio-signature"], twilio.signature("t", "https://h/p?q=1", [("a", "b")])
        )


class WhatIsSent(unittest.TestCase):
    def test_a_message_has_the_changes_asked_for_and_the_sids_agree(self):
        params = dict(twilio.whatsapp_message("AC1", Body="hola", From="whatsapp:+4930123", Extra=""))
        self.assertEqual((params["Body"], params["WaId"], params["Extra"]), ("hola", "4930123", ""))
        self.assertRegex(params["MessageSid"], "^SM[0-9a-f]{32}$")
        self.assertEqual(params["MessageSid"], params["SmsSid"])

    def test_the_form_reads_back_as_the_parameters_that_were_signed(self):
        params = twilio.whatsapp_message("AC1", Body="a+b & c=d é 🌮", Empty="")
        body = twilio.form_webhook("t", "https://h/p", params).body
        self.assertEqual(parse_qsl(body.decode(), keep_blank_values=True), params)

    def test_get_puts_the_parameters_behind_those_that_are_there(self):
        webhook = twilio.get_webhook("t", "https://h/p?x=1", [("Body", "a b")])
        self.assertEqual(webhook.target, "/p?x=1&Body=a+b")
        self.assertEqual(webhook.headers["x-twilio-signature"], twilio.signature("t", "https://h/p?x=1&Body=a+b"))

    def test_the_host_header_is_the_public_host_without_a_password(self):
        webhook = twilio.form_webhook("t", "https://user:secret@orders.example.com:8443/p", [])
        self.assertEqual(webhook.headers["host"], "orders.example.com:8443")

    def test_the_curl_command_is_quoted_for_a_shell(self):
        webhook = twilio.form_webhook("t", "https://h/p", [("Body", "it's $HOME")])
        self.assertIn("--data-binary Body=it%27s+%24HOME", webhook.curl("http://127.0.0.1:10000"))
        self.assertIn("'host: h'", webhook.curl("http://127.0.0.1:10000"))


if __name__ == "__main__":
    unittest.main()
