"""The page of a look: alarms first, then each signal's figures, for people."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from core.alarms import Alarm
from monitoring.verdict import Signal

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{project}: drift</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:3rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%;font-size:.9rem}}
td,th{{text-align:left;padding:.3rem;border-bottom:1px solid #ddd}}
td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums}}.bar{{background:#b33;height:.6rem;display:inline-block}}
.quiet{{background:#9ab}}</style>
</head><body><h1>{project}: drift</h1>
{body}
</body></html>
"""


def draw_page(
    project: str, about: Sequence[str], alarms: Sequence[Alarm], signals: Sequence[Signal], link: str | None
) -> str:
    """The page's HTML.

    Args:
        about: Sentences on what was compared and left out.
        link: Of the drill-down report, relative; None where there is none.
    """
    lines = [f"<p>{escape(sentence)}</p>" for sentence in about]
    if alarms:
        told = "".join(f"<li>{'<b>Broken data.</b> ' if one.broken else ''}{escape(one.says)}</li>" for one in alarms)
        lines += ["<h2>Alarms</h2>", f"<p>The first is the likeliest cause, the others follow.</p><ol>{told}</ol>"]
    elif signals:
        lines.append("<h2>No alarm</h2>")
    if link is not None:
        lines.append(
            f'<p><a href="{escape(link)}">Columns of the newest events against those before, by Evidently</a></p>'
        )
    if signals:
        lines.append(_table(signals))
    return _PAGE.format(project=escape(project), body="\n".join(lines))


def _table(signals: Sequence[Signal]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("signal", "segment", "days"))
    head += "".join(f'<th class="n">{name}</th>' for name in ("value", "reference", "p", "counted"))
    rows = "\n".join(_row(one) for one in sorted(signals, key=lambda one: -one.evidence))
    return (
        "<h2>Signals</h2><p>The bar is the evidence of a shift, full where it is an alarm. p is corrected for all "
        "that a week asks.</p>"
        f"<table><thead><tr>{head}<th>evidence</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(one: Signal) -> str:
    said = (one.name, one.segment or "everybody", str(one.window_days))
    cells = "".join(f"<td>{escape(text)}</td>" for text in said)
    figures = (f"{one.value:.4g}", f"{one.reference:.4g}", f"{one.p_value:.2g}", f"{one.exposure:.0f}")
    cells += "".join(f'<td class="n">{text}</td>' for text in figures)
    kind = "bar" if one.evidence >= 1 else "bar quiet"
    bar = f'<span class="{kind}" style="width:{min(one.evidence, 1) * 8:.2f}rem"></span>'
    return f"<tr>{cells}<td>{escape(one.note) or bar}</td></tr>"
