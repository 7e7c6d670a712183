"""The picture of launch/scaling: predicted and measured time of a step, efficiency and memory against ranks, as SVG."""

import math
from xml.sax.saxutils import escape

MODES = {"weak": "#1769aa", "strong": "#d4570a"}
INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
WIDTH, HEIGHT = 1240, 560
PANEL_WIDTH, TOP, BOTTOM = 318, 126, 420


def ticks(limit):
    """Round numbers from 0 to `limit` or a little more."""
    power = 10 ** math.floor(math.log10(limit / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if limit / (factor * power) <= 5)
    return [step * index for index in range(math.ceil(limit / step - 1e-9) + 1)]


def log_ticks(least, most):
    """Round numbers from `least` or less to `most` or more."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    marks = [factor * 10.0 ** power for power in range(first, last + 1) for factor in factors]
    return ([mark for mark in marks if mark <= least][-1:] + [mark for mark in marks if least < mark < most]
            + [mark for mark in marks if mark >= most][:1])


def text(x, y, words, size=13, anchor="start", color=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def mark(x, y, kind, color, shape, words=""):
    """A ring of what was predicted, or the smaller full mark of what was measured."""
    r = 7 if kind == "predicted" else 4
    corners = {1: [(-.9, -.9), (.9, -.9), (.9, .9), (-.9, .9)], 2: [(0, -1.25), (1.15, .8), (-1.15, .8)],
               3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)]}.get(shape)
    body = (f'<polygon points="{" ".join(f"{x + r * i:.1f},{y + r * j:.1f}" for i, j in corners)}"' if corners
            else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"')
    paint = f'fill="white" stroke="{color}" stroke-width="1.8"' if kind == "predicted" else f'fill="{color}"'
    title = f"<title>{escape(words)}</title>" if words else ""
    return f'<g class="{kind if words else "key"}">{title}{body} {paint}/></g>'


def interval(x, top, bottom, color):
    return (f'<path d="M{x - 5:.1f} {top:.1f}h10m-5 0V{bottom:.1f}m-5 0h10" fill="none" stroke="{color}" '
            'stroke-width="1.4" stroke-opacity=".7"/>')


class Panel:
    """One diagram; `scale` turns a row's figures of `keys` into `unit`."""

    def __init__(self, index, title, unit, scale, keys, rows):
        self.left = 78 + index * (PANEL_WIDTH + 84)
        self.title, self.unit, self.scale, self.keys, self.rows = title, unit, scale, keys, rows
        values = [value * scale for row in rows for key in keys for value in row.figures[key]]
        self.is_log = unit != "%" and max(values) > 16 * min(values) > 0
        self.ticks = (log_ticks(min(values) / 1.1, max(values) * 1.1) if self.is_log
                      else ticks(max(max(values) * 1.06, 100 if unit == "%" else 0)))
        self.ranks = sorted({row.ranks for row in rows})

    def x(self, ranks, offset=0):
        span = math.log2(self.ranks[-1] / self.ranks[0])
        share = math.log2(ranks / self.ranks[0]) / span if span else 0.5
        return self.left + 42 + share * (PANEL_WIDTH - 84) + offset

    def y(self, value):
        first, last = self.ticks[0], self.ticks[-1]
        value = min(max(value, first), last)
        share = math.log(value / first) / math.log(last / first) if self.is_log else value / last
        return BOTTOM - share * (BOTTOM - TOP)

    def draw(self, series):
        right = self.left + PANEL_WIDTH
        out = [text(self.left, TOP - 20, f"{self.title} ({self.unit})", 15, weight="600")]
        for tick in self.ticks:
            color = MUTED if tick == self.ticks[0] else GRID
            out.append(f'<path d="M{self.left} {self.y(tick):.1f}H{right}" stroke="{color}"/>')
            out.append(text(self.left - 9, self.y(tick) + 4.5, f"{tick:,.10g}", anchor="end", color=MUTED))
        for ranks in self.ranks:
            out.append(f'<path d="M{self.x(ranks):.1f} {BOTTOM}v5" stroke="{MUTED}"/>')
            out.append(text(self.x(ranks), BOTTOM + 21, str(ranks), anchor="middle", color=MUTED))
        out.append(text(self.left + PANEL_WIDTH / 2, BOTTOM + 42, "ranks", anchor="middle", color=MUTED))
        if self.unit == "%":
            out.append(f'<path d="M{self.left} {self.y(100):.1f}H{right}" stroke="{MUTED}" stroke-dasharray="2 4"/>')
            out.append(text(right, self.y(100) - 6, "ideal", 12, "end", MUTED))
        # In layers, so that no line or ring covers what was measured.
        layers = [[], [], []]
        # What stands at the same number of ranks stands side by side, but nearer to that number than to the next.
        gap = min((self.x(b) - self.x(a) for a, b in zip(self.ranks, self.ranks[1:])), default=PANEL_WIDTH)
        spacing = min(18, 54 / len(series), 0.6 * gap / len(series))
        for index, (mode, threads, shape) in enumerate(series):
            offset = (index - (len(series) - 1) / 2) * spacing
            rows = [row for row in self.rows if mode in row.modes and row.threads == threads]
            for key in self.keys:
                for layer, more in zip(layers, self.line(rows, mode, key, shape, offset)):
                    layer += more
        return out + sum(layers, [])

    def line(self, rows, mode, key, shape, offset):
        """The line through what was predicted, its rings, and the full marks of what was measured."""
        color, dash = MODES[mode], ' stroke-dasharray="6 4"' if key == "node" else ""
        points = [[(self.x(row.ranks, offset), self.y(row.figures[key][which] * self.scale)) for row in rows]
                  for which in range(2)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points[0])
        lines = [f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.8" stroke-opacity=".75"{dash}/>']
        if key == "step":
            for row, (x, _) in zip(rows, points[0]):
                ends = [self.y(row.figures[key][0] * self.scale * (1 + sign * row.uncertainty)) for sign in (1, -1)]
                lines.append(interval(x, *ends, color))
        marks = []
        for which, kind in enumerate(["predicted", "measured"]):
            what = {"rank": " of a rank", "node": " of the node"}.get(key, "")
            marks.append([
                mark(x, y, kind, color, shape,
                     f"{mode}, {row.ranks} × {row.threads}: {kind} {row.figures[key][which] * self.scale:,.4g} "
                     f"{self.unit}{what}")
                for row, (x, y) in zip(rows, points[which])])
        return lines, *marks


def picture(title, subtitle, rows):
    threads = sorted({row.threads for row in rows})
    modes = [mode for mode in MODES if any(mode in row.modes for row in rows)]
    series = [(mode, count, threads.index(count) % 4) for count in threads for mode in modes]
    slowest = max(max(row.figures["step"]) for row in rows)
    largest = max(max(row.figures["node"]) for row in rows)
    panels = [
        Panel(0, "Time of a step", *(("s", 1) if slowest >= 1 else ("ms", 1e3)), ["step"], rows),
        Panel(1, "Efficiency", "%", 100, ["efficiency"], rows),
        Panel(2, "Memory", *(("GiB", 2**-30) if largest >= 2**31 else ("MiB", 2**-20)), ["rank", "node"], rows)]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'font-family="Inter, Helvetica, Arial, DejaVu Sans, sans-serif"><title>{escape(title)}</title>',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
           text(30, 42, title, 21, weight="600"), text(30, 68, subtitle, 14, color=MUTED)]
    for panel in panels:
        out += panel.draw(series)
    dashed = ' stroke-dasharray="6 4"'
    first = [(lambda x, y, m=mode: f'<rect x="{x - 9}" y="{y - 6}" width="18" height="12" rx="2" fill="{MODES[m]}"/>',
              {"weak": "weak: each rank has the batch", "strong": "strong: the ranks share the batch"}[mode])
             for mode in modes]
    first += [(lambda x, y, k=kind: mark(x, y, k, INK, 0), kind) for kind in ("predicted", "measured")]
    first.append((lambda x, y: interval(x, y - 9, y + 9, INK), "uncertainty of the prediction"))
    second = [(lambda x, y, s=index % 4: mark(x, y, "measured", INK, s), f"{count} thread{'s' * (count > 1)} a rank")
              for index, count in enumerate(threads)]
    second += [(lambda x, y, d=dash: f'<path d="M{x - 14} {y}h28" stroke="{INK}" stroke-width="1.8"{d}/>', name)
               for dash, name in [("", "memory of a rank"), (dashed, "memory of the node")]]
    for line, keys in enumerate([first, second]):
        x, y = 44, HEIGHT - 62 + 30 * line
        for draw, words in keys:
            out += [draw(x, y), text(x + 21, y + 4.5, words)]
            x += 54 + 7.6 * len(words)
    return "\n".join([*out, "</svg>", ""])
