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
# The same request, remembered in one Envoy and for several, by each version of the filter.
WITH_REDIS = {
    "WebAssembly": ("filter-accepted", "filter-redis-accepted"),
    "native": ("native-accepted", "native-redis-accepted"),
    "WebAssembly, 0.1": ("then-accepted", "then-redis-accepted"),
}


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
    Variant("hold", "empty native filter that holds the request", "hold"),
    Variant("lua-check-accepted", "signature check in Lua: accepted", "lua-check"),
    rejected("lua-check-forged", "signature check in Lua: forged", "lua-check", 403, kind="forged"),
    Variant("native-accepted", "this filter, native: accepted", "native"),
    Variant("filter-accepted", "this filter, Wasm: accepted", "filter"),
    Variant("then-accepted", "this filter 0.1, Wasm: accepted", "then"),
    Variant("native-redis-accepted", "this filter, native, Redis: accepted", "native-redis"),
    Variant("filter-redis-accepted", "this filter, Wasm, Redis: accepted", "filter-redis"),
    Variant("then-redis-accepted", "this filter 0.1, Wasm, Redis: accepted", "then-redis"),
    *rejections("native", "this filter, native", "native"),
    *rejections("filter", "this filter, Wasm", "filter"),
    Variant("ext-authz-accepted", "ext_authz to Express: accepted", "ext-authz"),
    rejected("ext-authz-forged", "ext_authz to Express: forged", "ext-authz", 403, kind="forged"),
    Variant("express-accepted", "Express: accepted", "express"),
    *rejections("express", "Express", "express"),
]


# An earlier version, which is only there if it is given.
THEN = ("then", "then-redis")


def chosen(names, then=False):
    """Those named, by their name or their server's, and what all are compared with. `then`: an earlier version of the
    filter is there, too."""
    known = {variant.name for variant in VARIANTS} | {variant.server for variant in VARIANTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}. There are {', '.join(variant.name for variant in VARIANTS)}.")
    here = [variant for variant in VARIANTS if then or variant.server not in THEN]
    return [variant for variant in here if not names or {variant.name, variant.server} & {*names, BASE}]
