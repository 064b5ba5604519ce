"""The chart: recall to the right, queries a second up (logarithmic), a colour a contestant. SVG, alone or in a page of its own."""
import html
import math

from curves import front

COLOURS = ["#d62728", "#ff7f0e", "#8c2d5a", "#1f77b4", "#2ca02c", "#17becf", "#9467bd", "#7f7f7f", "#8c8c00", "#5b4636", "#393b79", "#000000"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 1000, 480, 70, 40, 350, 50


def ticks(low, high):
    """1, 2 and 5 times powers of ten between two speeds."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [m * 10**e for e in range(first, last + 1) for m in (1, 2, 5) if low <= m * 10**e <= high]


def short(x):
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"


class Panel:
    """One chart with its axes; x is the recall, y the logarithm of the speed."""

    def __init__(self, curves, top, title):
        recalls = [r for _, points, _ in curves for r, _ in points]
        speeds = [s for _, points, _ in curves for _, s in points]
        self.low, self.high = max(0.0, min([*recalls, 0.9]) - 0.005), 1.0
        self.slow, self.fast = min(speeds) / 1.3, max(speeds) * 1.3
        self.top, self.title, self.curves = top, title, curves

    def x(self, recall):
        return LEFT + (recall - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def y(self, speed):
        share = math.log(speed / self.slow) / math.log(self.fast / self.slow)
        return self.top + HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def text(self, x, y, words, anchor="middle", extra=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{html.escape(words)}</text>'

    def axes(self, k):
        bottom, right = self.top + HEIGHT - BOTTOM, WIDTH - RIGHT
        out = [self.text(LEFT, self.top + 22, self.title, "start", 'font-weight="bold"')]
        step = 0.01 if self.high - self.low < 0.15 else 0.05
        for i in range(math.ceil(self.low / step - 1e-9), round(self.high / step) + 1):
            x = self.x(i * step)
            out.append(f'<path d="M{x:.1f} {self.top + TOP}V{bottom}" stroke="#ddd"/>' + self.text(x, bottom + 18, f"{i * step:.2f}"))
        for s in ticks(self.slow, self.fast):
            y = self.y(s)
            out.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#ddd"/>' + self.text(LEFT - 8, y + 4, short(s), "end"))
        out.append(self.text((LEFT + right) / 2, bottom + 38, f"recall@{k}"))
        middle = self.top + HEIGHT / 2
        return out + [self.text(18, middle, "queries a second", extra=f'transform="rotate(-90 18 {middle:.1f})"')]

    def lines(self):
        """Curves, and a legend with the fastest first."""
        out = []
        for name, points, (colour, ours) in self.curves:
            best = front(points)
            path = " ".join(f"{self.x(r):.1f},{self.y(s):.1f}" for r, s in best)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if ours else 1.6}"/>')
            for r, s in points:  # those that another of the same index beats are faint
                tip = f"<title>{html.escape(name)}: recall {r:.4f}, {s:,.0f} queries/s</title>"
                how = f'r="{4 if ours else 3}" fill="{colour}"' + ("" if (r, s) in best else ' fill-opacity="0.3"')
                out.append(f'<circle cx="{self.x(r):.1f}" cy="{self.y(s):.1f}" {how}>{tip}</circle>')
        for i, (name, points, (colour, ours)) in enumerate(self.curves):
            y = self.top + TOP + 14 + 22 * i
            x = WIDTH - RIGHT + 16
            words = name if len(name) < 42 else name[:40] + "…"
            weight = 'font-weight="bold" ' if ours else ""
            out.append(f'<path d="M{x} {y}h22" stroke="{colour}" stroke-width="{3 if ours else 2}"/>')
            out.append(self.text(x + 28, y + 4, words, "start", f'{weight}font-size="12" fill="{colour}"'))
        return out


def curves_of(results, mode):
    """(name, [(recall, speed)], (colour, is voisin)) of those that were measured; the fastest at the top."""
    curves = []
    for i, r in enumerate(results):
        if not r.get("failed"):
            points = [(p["recall"], p["qps"]) for p in r["modes"][mode]["points"]]
            curves.append((r["name"], points, (COLOURS[i % len(COLOURS)], r["voisin"])))
    return sorted(curves, key=lambda c: -max(s for _, s in c[1]))


def svg(facts, how, results, modes, k):
    many = "all queries in one call"
    titles = {"single": "one query at a time", "batch": many}
    panels = [Panel(c, 50 + i * HEIGHT, titles[m]) for i, m in enumerate(modes) if (c := curves_of(results, m))]
    tall = 60 + HEIGHT * len(panels)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}" width="{WIDTH}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{tall}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="16" font-weight="bold">{html.escape(facts)}</text>',
        f'<text x="{LEFT}" y="42" fill="#555" font-size="11">{html.escape(how)}</text>',
    ]
    for panel in panels:
        out += panel.axes(k) + panel.lines()
    failed = [f"{r['name']}: not measured ({r['failed'][:80]})" for r in results if r.get("failed")]
    out += [f'<text x="{LEFT}" y="{tall - 4 - 13 * i}" fill="#555" font-size="11">{html.escape(words)}</text>' for i, words in enumerate(failed)]
    return "\n".join([*out, "</svg>"])


def write(path, facts, how, results, modes, k):
    drawn = svg(facts, how, results, modes, k)
    if not path.endswith(".svg"):
        drawn = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(facts)}</title>\n<body style="margin:2em">\n{drawn}\n</body></html>\n'
    with open(path, "w", encoding="utf-8") as f:
        f.write(drawn)
