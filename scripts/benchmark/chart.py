"""The processor time of each variant as a picture. Written by hand: a table of rectangles needs no library."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, ROW, BAR = 900, 310, 110, 84, 26, 14
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
# By what a bar is about. All can be told from the white card, also by those who do not see red or green.
COLOURS = {
    "envoy": "#6b7280",
    "lua": "#b45309",
    "wasm": "#0e7490",
    "hold": "#0e7490",
    "native": "#15803d",
    "filter": "#1d4ed8",
    "ext-authz": "#be185d",
}
OTHER = "#a16207"


def colour(name):
    return next((value for start, value in COLOURS.items() if name.startswith(start)), OTHER)


def step(most):
    """The distance between two lines of the scale: 1, 2 or 5 of some power of ten, with at most ten lines."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if most / (digit * power) <= 10:
                return digit * power
        power *= 10


def chart(bars, subtitle):
    """`bars`: name, label and Spread of each."""
    most = max(spread.high for _, _, spread in bars) * 1.02
    scale = (WIDTH - LEFT - RIGHT) / most
    bottom = TOP + ROW * len(bars)
    height = bottom + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-labelledby="title" font-family="{FONT}" font-size="13">',
        '<title id="title">Processor time for one request, by variant</title>',
        # A card of its own colour, because the page around it may be light or dark.
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#ffffff" stroke="#d1d5db"/>',
        '<text x="20" y="32" font-size="17" font-weight="600" fill="#111827">Processor time for one request</text>',
        f'<text x="20" y="54" fill="#4b5563">{escape(subtitle)}</text>',
    ]
    distance = step(most)
    tick = 0
    while tick <= most:
        x = LEFT + tick * scale
        parts.append(f'<path d="M{x:.1f} {TOP - 8}V{bottom}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#4b5563">{tick}</text>')
        tick += distance
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 36}" text-anchor="middle" fill="#4b5563">µs</text>')
    for place, (name, label, spread) in enumerate(bars):
        y = TOP + ROW * place
        centre = y + BAR / 2
        length = spread.median * scale
        low, high = LEFT + spread.low * scale, LEFT + spread.high * scale
        value = f"{spread.median:.0f}" if spread.median >= 100 else f"{spread.median:.1f}"
        parts += [
            f'<text x="{LEFT - 10}" y="{centre + 4.5}" text-anchor="end" fill="#111827">{escape(label)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour(name)}"/>',
            f'<path d="M{low:.1f} {centre}H{high:.1f}M{low:.1f} {centre - 4}v8M{high:.1f} {centre - 4}v8" '
            'stroke="#111827" stroke-width="1.2" fill="none"/>',
            f'<text x="{high + 8:.1f}" y="{centre + 4.5}" fill="#111827">{value}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
