"""The table, and the plot of its medians."""

import statistics


def three(values):
    return f"{min(values):8.1f} {statistics.median(values):8.1f} {max(values):8.1f}"


class Table:
    def __init__(self):
        self.results = {}
        print(f"{'':50}{'':8} {'min':>8} {'median':>8} {'max':>8}   ratio of stasis to it, pair by pair")

    def add(self, what, series):
        """series: name -> values, taken in turn, so that the n-th of each were measured side by side."""
        self.results[what] = series
        ours = series.get("stasis", [])
        for name, values in series.items():
            ratios = [a / b for a, b in zip(ours, values)]
            ratio = "" if name == "stasis" or not ratios else f"{min(ratios):6.2f} {statistics.median(ratios):6.2f} {max(ratios):6.2f}"
            print(f"{what:50}{name:8} {three(values)}   {ratio}", flush=True)


COLOURS = {"stasis": "#1b7f5c", "runc": "#888888", "docker": "#2e6fbd", "podman": "#9a4fb0", "first": "#9fd0bd"}


def plot(results, path):
    """Bars of the medians, each group to its own scale, in two columns."""
    groups = [(what, {name: statistics.median(values) for name, values in series.items()})
              for what, series in results.items() if "stasis" in series]
    rows = sum(len(medians) + 2 for _, medians in groups)
    lines, x, row, most = [], 10, 0, 0
    for what, medians in groups:
        if x == 10 and row >= rows / 2:
            x, row = 580, 0
        lines.append(text(x, row, what, ' font-weight="bold"'))
        for row, (name, value) in enumerate(medians.items(), row + 1):
            width = max(1, 420 * value / max(*medians.values(), 1e-9))
            lines.append(text(x, row, name) + text(x + 66 + width, row, f"{value:.4g}") +
                         f'<rect x="{x + 60}" y="{ROW * row + 11}" width="{width:.0f}" height="13" fill="{COLOURS[name]}"/>')
        row += 2
        most = max(most, row)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="1140" height="{ROW * most + 10}" font-family="sans-serif" '
                    f'font-size="12"><rect width="100%" height="100%" fill="white"/>' + "".join(lines) + "</svg>\n")


ROW = 17


def text(x, row, words, more=""):
    return f'<text x="{x:.0f}" y="{ROW * row + 22}"{more}>{words}</text>'
