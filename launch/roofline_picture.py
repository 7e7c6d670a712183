"""The picture of launch/roofline: how fast every kernel computes against the FLOPs that it does for a byte, below what the
core's arithmetic and memory allow, as SVG."""

import math

from scaling_picture import GRID, INK, MUTED, mark, text

SGEMM, TILES, ROWS = "#1769aa", "#d4570a", "#2f7d32"
WIDTH, HEIGHT = 1240, 700
LEFT, RIGHT, TOP, BOTTOM = 84, 860, 116, 610


class Axes:
    """Both logarithmic: FLOPs a byte to the right, 1e9 FLOPs a second upwards."""

    def __init__(self, points, ceilings):
        self.x0 = 10 ** math.floor(math.log10(min(point.intensity for point in points)))
        self.x1 = 10 ** math.ceil(math.log10(max(point.intensity for point in points)))
        self.y0 = 10 ** math.floor(math.log10(min(point.gigaflops for point in points)))
        self.y1 = 10 ** math.ceil(math.log10(1.05 * max(ceilings)))

    def x(self, value):
        return LEFT + math.log(value / self.x0) / math.log(self.x1 / self.x0) * (RIGHT - LEFT)

    def y(self, value):
        return BOTTOM - math.log(value / self.y0) / math.log(self.y1 / self.y0) * (BOTTOM - TOP)

    def draw(self):
        out = []
        for first, last, is_x in [(self.x0, self.x1, True), (self.y0, self.y1, False)]:
            for power in range(round(math.log10(first)), round(math.log10(last)) + 1):
                value = 10.0 ** power
                words = f"{value:,.10g}"
                if is_x:
                    out += [f'<path d="M{self.x(value):.1f} {TOP}V{BOTTOM}" stroke="{GRID}"/>',
                            text(self.x(value), BOTTOM + 21, words, anchor="middle", color=MUTED)]
                else:
                    out += [f'<path d="M{LEFT} {self.y(value):.1f}H{RIGHT}" stroke="{GRID}"/>',
                            text(LEFT - 9, self.y(value) + 4.5, words, anchor="end", color=MUTED)]
        return out + [text((LEFT + RIGHT) / 2, BOTTOM + 44, "FLOPs for each byte read or written", anchor="middle",
                           color=MUTED), text(LEFT - 40, TOP - 16, "GFLOP/s of one core", color=MUTED)]

    def flat(self, gigaflops, words, color):
        y = self.y(gigaflops)
        return [f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{color}" stroke-width="1.6"/>',
                text(LEFT + 8, y - 7, f"{words}, {gigaflops:,.0f} GFLOP/s", 12, color=color)]

    def slope(self, gigabytes, words, height):
        """The FLOPs that so many bytes a second feed, up to `height`; named along the line."""
        least = max(self.x0, self.y0 / gigabytes)
        most = min(self.x1, height / gigabytes)
        ends = [(self.x(value), self.y(value * gigabytes)) for value in (least, most)]
        angle = math.degrees(math.atan2(ends[1][1] - ends[0][1], ends[1][0] - ends[0][0]))
        middle = math.sqrt(least * most)
        x, y = self.x(middle), self.y(middle * gigabytes)
        return [f'<path d="M{ends[0][0]:.1f} {ends[0][1]:.1f}L{ends[1][0]:.1f} {ends[1][1]:.1f}" stroke="{INK}" '
                'stroke-width="1.4"/>',
                f'<g transform="translate({x:.1f} {y:.1f}) rotate({angle:.1f})">'
                + text(0, -8, f"{words}, {gigabytes:,.0f} GB/s", 12, "middle") + "</g>"]


def picture(title, subtitle, points, ceilings, bandwidths):
    """`ceilings` and `bandwidths` are (name, value, color) and (name, value); points have a number or None."""
    axes = Axes(points, [value for _, value, _ in ceilings])
    highest = max(value for _, value, _ in ceilings)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'font-family="Inter, Helvetica, Arial, DejaVu Sans, sans-serif"><title>{title}</title>',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
           text(30, 42, title, 21, weight="600"), text(30, 68, subtitle, 14, color=MUTED), *axes.draw()]
    for name, value, color in ceilings:
        out += axes.flat(value, name, color)
    for name, value in bandwidths:
        out += axes.slope(value, name, highest)
    for point in points:
        x, y = axes.x(point.intensity), axes.y(point.gigaflops)
        out.append(mark(x, y, "predicted" if point.is_hollow else "measured", point.color, point.shape, point.words))
    # Above all marks.
    for point in points:
        if point.number is not None and not point.is_hollow:
            x, y = axes.x(point.intensity), axes.y(point.gigaflops)
            out.append(text(x + 7, y + 12, str(point.number), 11, color=point.color))
    return "\n".join([*out, *legend(points), "</svg>", ""])


def legend(points):
    left, y, out = RIGHT + 46, TOP, []
    keys = [("measured", SGEMM, 1, "product in fp32 (OpenBLAS)"),
            ("measured", TILES, 3, "product in bf16, packing included"),
            ("predicted", TILES, 3, "the same of attention, one head"),
            ("measured", ROWS, 0, "row kernel, operands from memory"),
            ("predicted", ROWS, 0, "row kernel, operands in the core's cache")]
    shown = {(point.is_hollow, point.color) for point in points}
    for kind, color, shape, words in keys:
        if (kind == "predicted", color) in shown:
            out += [mark(left, y, kind, color, shape), text(left + 18, y + 4.5, words)]
            y += 24
    names = {}
    for point in points:
        if point.number is not None:
            names.setdefault(point.number, point.name)
    y += 14
    for number, name in sorted(names.items()):
        out += [text(left + 8, y + 4.5, str(number), 13, "end", ROWS), text(left + 18, y + 4.5, name)]
        y += 21
    return out
