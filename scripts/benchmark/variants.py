"""What is measured: which request to which server. Each line here is one in every table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    name: str
    label: str
    server: str
    # What is sent: `signed` (by the configured token), `forged` (by another), `unsigned`.
    kind: str = "signed"
    # The status that every answer must have.
    expected: int = 200
    # What is sent was accepted before.
    repeats: bool = False
    # How many the server takes before those that are measured are rejected.
    allowance: int = 0


BASE = "envoy"
# The same request, remembered in one Envoy and for several.
HERE, WITH_REDIS = "filter-accepted", "filter-redis-accepted"


def rejected(name, label, server, expected, **more):
    return Variant(name, label, server, expected=expected, **more)


def rejections(prefix, label, server):
    return [
        rejected(f"{prefix}-forged", f"{label}: forged", server, 403, kind="forged"),
        rejected(f"{prefix}-repeated", f"{label}: repeated", server, 409, repeats=True),
        rejected(f"{prefix}-limited", f"{label}: rate limited", f"{server}-limited", 429, allowance=1),
        rejected(f"{prefix}-unsigned", f"{label}: no signature", server, 403, kind="unsigned"),
    ]


VARIANTS = [
    Variant(BASE, "Envoy alone", "envoy"),
    # A second process with the same configuration: what differs here is what the method cannot tell apart.
    Variant("envoy-again", "Envoy alone, a second one", "envoy-again"),
    Variant("lua", "empty Lua filter that waits for the body", "lua"),
    Variant("wasm", "empty Wasm filter", "wasm"),
    Variant("wasm-hold", "empty Wasm filter that holds the request", "wasm-hold"),
    Variant(HERE, "this filter: accepted", "filter"),
    Variant(WITH_REDIS, "this filter with Redis: accepted", "filter-redis"),
    *rejections("filter", "this filter", "filter"),
    Variant("ext-authz-accepted", "ext_authz to Express: accepted", "ext-authz"),
    rejected("ext-authz-forged", "ext_authz to Express: forged", "ext-authz", 403, kind="forged"),
    Variant("express-accepted", "Express: accepted", "express"),
    *rejections("express", "Express", "express"),
]


def chosen(names):
    """Those named, by their name or their server's, and what all are compared with."""
    known = {variant.name for variant in VARIANTS} | {variant.server for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}. There are {', '.join(variant.name for variant in VARIANTS)}.")
    if not names:
        return VARIANTS
    return [variant for variant in VARIANTS if {variant.name, variant.server} & {*names, BASE}]
