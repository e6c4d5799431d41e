"""The monitor's sections as HTML, and all of it as text. Pure: a reading and a history give the same picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codeexec_magic.display import tables, theme
from codeexec_magic.display.theme import age, escaped, plural, seconds
from codeexec_magic.hostile_text import one_line
from codeexec_magic.panel import charts
from codeexec_magic.panel.alarms import Alarm, alarms
from codeexec_magic.store.record import iso
from codeexec_magic.store.samples import SAMPLE_S, SHOWN_S, History, QueueSample, Sample, between, quantile

if TYPE_CHECKING:
    from codeexec_magic.store.monitor import Reading

CSS = """<style>
.cxm-kpi{display:grid;grid-template-columns:repeat(7,1fr);gap:1px;background:var(--cx-line);
border:1px solid var(--cx-line);border-radius:6px;overflow:hidden}
.cxm-kpi>div{background:var(--cx-bg);padding:7px 12px;min-width:0}
.cxm-kpi b{display:block;font-size:20px;line-height:1.2;font-weight:600;font-variant-numeric:tabular-nums}
.cxm-kpi span{font-size:11.5px;color:var(--cx-dim);white-space:nowrap}
.cxm-two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:12px 20px;
align-items:start}.cxm-two.cxm-wider{grid-template-columns:repeat(auto-fit,minmax(min(100%,490px),1fr))}
.cxm-two td{max-width:200px}
.cxm-two>*{min-width:0}.cxm-two .cxm-wide{overflow-x:auto}
.cxm-slots{height:6px;border-radius:3px;background:var(--cx-bg2);overflow:hidden;min-width:56px}
.cxm-slots i{display:block;height:100%;background:var(--cx-run)}
.cxm svg{display:block}.cxm-chart svg text{font:10.5px var(--jp-ui-font-family,system-ui,sans-serif);fill:var(--cx-dim)}
.cxm-chart svg text.cxm-end{fill:var(--cx-fg)}.cxm h4 span{font-weight:400}
.cxm-alarm{display:flex;gap:8px;align-items:baseline;padding:5px 10px;border-radius:5px;margin-bottom:4px;
border-left:3px solid var(--c);background:color-mix(in srgb,var(--c) 11%,transparent)}
.cxm-alarm b{color:color-mix(in srgb,var(--c) 72%,var(--cx-fg));font-weight:600}
.cxm-bad{color:color-mix(in srgb,var(--cx-err) 80%,var(--cx-fg))}
@media(max-width:700px){.cxm-kpi{grid-template-columns:repeat(4,1fr)}}
</style>"""

#: points a curve is drawn from, one per so many seconds
_STEP_S = 15.0
#: rows of a table, banners
_ROWS, _BANNERS = 20, 6


@dataclass
class Dashboard:
    """One reading with its history, ready to draw."""

    reading: Reading
    history: History = field(default_factory=History)
    embedded: bool = False

    def __post_init__(self) -> None:
        self.now: Sample = self.reading.sample()

    @property
    def alarms(self) -> list[Alarm]:
        """What is wrong."""
        return alarms(self.reading, self.history.samples, embedded=self.embedded)

    @property
    def done_per_minute(self) -> float | None:
        """Succeeded jobs a minute, over the last one."""
        return self._rate(lambda one: one.succeeded)

    @property
    def failure_rate(self) -> float | None:
        """Share of the jobs that ended in the last five minutes and failed."""
        then = self.history.since(self.now, SHOWN_S)
        good, bad = (
            max(0, new - old)
            for old, new in (
                (then.succeeded if then else 0, self.now.succeeded),
                (then.failed if then else 0, self.now.failed),
            )
        )
        return bad / (good + bad) if good + bad else None

    @property
    def hit_rate(self) -> float | None:
        """Share of the jobs submitted in the last five minutes that the cache answered."""
        then = self.history.since(self.now, SHOWN_S)
        hits = self.now.hits - (then.hits if then else 0)
        submitted = self.now.submitted - (then.submitted if then else 0)
        return min(1.0, max(0, hits) / submitted) if submitted > 0 else None

    def wait(self, share: float, queue: str | None = None) -> float | None:
        """Quantile of the waits of the last five minutes."""
        return quantile(self.history.waits(self.now, queue), share)

    def kpis(self) -> str:
        """The tiles."""
        reading, done = self.reading, self.done_per_minute
        tiles = [
            ("Queued", str(reading.waiting), ""),
            ("Running", str(reading.running), "--cx-run" if reading.running else ""),
            ("Retrying", str(reading.retrying), "--cx-warn" if reading.retrying else ""),
            ("Done / min", "–" if done is None else charts.number(round(done)), "--cx-ok" if done else ""),
            ("Failed, 5 min", percent(self.failure_rate), "--cx-err" if self.failure_rate else ""),
            ("Cached, 5 min", percent(self.hit_rate), ""),
            ("Dead letters", str(reading.dead), "--cx-dead" if reading.dead else ""),
        ]
        cells = "".join(
            f"<div><b{_tint(colour)}>{escaped(value)}</b><span>{escaped(name)}</span></div>"
            for name, value, colour in tiles
        )
        return f'<div class="cxm-kpi">{cells}</div>'

    def banners(self) -> str:
        """The alarms; empty when all is well."""
        found = self.alarms
        return "".join(
            f'<div class="cxm-alarm cxm-{one.kind}" role="alert"><b>{escaped(one.glyph)} {escaped(one.title, 200)}</b>'
            f"<span>{escaped(one.advice, 200)}</span></div>"
            for one in found[:_BANNERS]
        ) + _more(len(found) - _BANNERS, "alarm")

    def queues(self) -> str:
        """One row per queue; of very many, those where something waits or somebody listens."""
        rows, queues = [], self.reading.queues
        if len(queues) > _ROWS:
            queues = tuple(sorted(queues, key=lambda one: not (one.depth or one.listeners)))
        for queue in queues[:_ROWS]:
            oldest = "–" if queue.oldest_s is None else seconds(queue.oldest_s)
            lonely = queue.depth and not queue.listeners
            name = escaped(queue.name, 40) + (' <span class="cxm-bad">⚠ no worker</span>' if lonely else "")
            rows.append(
                f"<tr><td>{name}</td><td>{charts.spark(self._depths(queue.name), f'depth of {queue.name}')}</td>"
                f'<td class="cxm-n">{queue.depth}</td><td class="cxm-n">{escaped(oldest)}</td>'
                f'<td class="cxm-n">{_span(self.wait(0.5, queue.name))}</td>'
                f'<td class="cxm-n">{_span(self.wait(0.95, queue.name))}</td></tr>'
            )
        head = (
            "<tr><th>Queue</th><th>Depth, last 5 min</th><th class=cxm-n>Now</th><th class=cxm-n>Oldest</th>"
            "<th class=cxm-n>Wait p50</th><th class=cxm-n>p95</th></tr>"
        )
        more = _more(len(queues) - _ROWS, "queue")
        return f'<h4>Queues</h4><div class="cxm-wide"><table>{head}{"".join(rows)}</table></div>{more}'

    def workers(self) -> str:
        """One row per worker that lives or died lately; of very many, the first that live."""
        head = (
            "<tr><th>Worker</th><th>Slots</th><th class=cxm-n>Busy</th><th class=cxm-n>Heartbeat</th>"
            "<th class=cxm-n>Isolation</th><th class=cxm-n>Memory</th><th>Version</th></tr>"
        )
        rows = []
        for worker in self.reading.workers[:_ROWS]:
            about, busy = worker.about, worker.busy if worker.alive else 0
            # an age that changes with every second would take away what somebody has selected
            heard = "now" if worker.seen_s < 4 else f"{age(worker.seen_s)} ago"
            stale = "" if worker.alive else ' class="cxm-n cxm-bad"'
            rows.append(
                f'<tr><td title="{escaped(worker.id, 200)}">{escaped(worker.id, 36)}</td>'
                f"<td>{charts.bar(busy / max(1, worker.slots), f'{busy} of {worker.slots} busy')}</td>"
                f'<td class="cxm-n">{busy}/{worker.slots}</td>'
                f"<td{stale or ' class=cxm-n'}>{escaped(heard)}{'' if worker.alive else ' ⚠'}</td>"
                f'<td class="cxm-n">level {escaped(about.get("isolation", "?"), 8)}</td>'
                f'<td class="cxm-n">{_megabytes(about.get("memory_mb"))}</td>'
                f"<td>{escaped(about.get('version', ''), 16)}</td></tr>"
            )
        body = f"<table>{head}{''.join(rows)}</table>" if rows else '<div class="cxm-dim">0 workers</div>'
        more = _more(max(self.reading.up, len(self.reading.workers)) - _ROWS, "worker")
        return f'<h4>Workers</h4><div class="cxm-wide">{body}</div>{more}'

    def curves(self) -> str:
        """Throughput and wait over time."""
        throughput = [
            charts.Line("done", self._per_minute(lambda one: one.succeeded), "var(--cx-run)"),
            charts.Line("failed", self._per_minute(lambda one: one.failed), "var(--cx-err)"),
        ]
        waits = [
            charts.Line("p50", self._wait_curve(0.5), "var(--cx-run)"),
            charts.Line("p95", self._wait_curve(0.95), "var(--cx-warn)"),
        ]
        return (
            '<div class="cxm-two">'
            + charts.chart("Throughput", "jobs / min", throughput, left="−5 min")
            + charts.chart("Queue wait", "s", waits, left="−5 min")
            + "</div>"
        )

    def text(self) -> str:
        """Everything as text."""
        reading = self.reading
        lines = [
            f"{reading.waiting} queued · {reading.running} running · {reading.retrying} retrying · "
            f"{plural(reading.dead, 'dead letter')}"
        ]
        lines += [f"{one.glyph} {one.title}: {one.advice}" for one in self.alarms]
        for queue in reading.queues:
            oldest = "" if queue.oldest_s is None else f", oldest {seconds(queue.oldest_s)}"
            p50, p95 = self.wait(0.5, queue.name), self.wait(0.95, queue.name)
            waited = "" if p50 is None or p95 is None else f", wait p50 {seconds(p50)} p95 {seconds(p95)}"
            served = plural(queue.listeners, "worker")
            lines.append(f"  {one_line(queue.name, 40)}: {queue.depth} waiting{oldest}{waited}, {served}")
        for worker in reading.workers:
            heard = "" if worker.alive else f", silent for {age(worker.seen_s)}"
            level = one_line(worker.about.get("isolation", "?"), 8)
            lines.append(
                f"  {one_line(worker.id, 60)}: {worker.busy}/{worker.slots} busy, isolation level {level}{heard}"
            )
        return "\n".join(lines)

    def snapshot_html(self) -> str:
        """Everything as it was at this moment: for saved notebooks."""
        at = tables.when(iso(self.reading.now_ms))
        states = [row.state for row in self.reading.jobs]
        body = (
            f'<div class="cxm-row"><b>Queue</b><span class="cxm-dim">as of {escaped(at)}</span></div>'
            f"{self.banners()}{self.kpis()}"
            f'<div class="cxm-two cxm-wider" style="margin:12px 0"><div>{self.queues()}</div>'
            f"<div>{self.workers()}</div></div>"
            f"{self.curves()}"
        )
        lists = f'<h4 style="margin-top:12px">Latest jobs</h4>{tables.jobs_html(states)}' if states else ""
        if self.reading.letters:
            lists += tables.dead_letters_html(self.reading.letters, self.reading.dead)
        return theme.frame(f"{CSS}{body}{lists}")

    def snapshot_text(self) -> str:
        """The same as text."""
        states = [row.state for row in self.reading.jobs]
        parts = [self.text()]
        parts += [tables.jobs_text(states)] if states else []
        parts += [tables.dead_letters_text(self.reading.letters, self.reading.dead)] if self.reading.letters else []
        return "\n".join(parts)

    def _rate(self, total: Callable[[Sample], int]) -> float | None:
        then = self.history.since(self.now, 60.0)
        if then is None or self.now.at_ms - then.at_ms < 2000:
            return None
        return max(0, total(self.now) - total(then)) * 60_000 / (self.now.at_ms - then.at_ms)

    def _ticks(self) -> Sequence[Sample]:
        """The history in steps long enough for a rate to mean something, then now."""
        kept: list[Sample] = []
        for one in (*self.history.samples, self.now):
            if not kept or one.at_ms - kept[-1].at_ms >= _STEP_S * 1000 * 0.9:
                kept.append(one)
        return kept

    def _x(self, at_ms: int) -> float:
        # time goes on in steps of a sample, so that a curve nobody added to is not drawn anew
        step = SAMPLE_S * 1000
        edge = math.ceil(self.now.at_ms / step) * step
        return min(1.0, max(0.0, 1 + (math.ceil(at_ms / step) * step - edge) / (SHOWN_S * 1000)))

    def _depths(self, queue: str) -> list[tuple[float, float]]:
        found = (*self.history.samples, self.now)
        return [(self._x(one.at_ms), one.queues.get(queue, QueueSample()).depth) for one in found]

    def _per_minute(self, total: Callable[[Sample], int]) -> list[tuple[float, float]]:
        ticks = self._ticks()
        return [
            (
                self._x(new.at_ms),
                max(0, total(new) - total(old)) * 60_000 / (new.at_ms - old.at_ms),
            )
            for old, new in itertools.pairwise(ticks)
        ]

    def _wait_curve(self, share: float) -> list[tuple[float, float]]:
        points, ticks = [], self._ticks()
        for old, new in itertools.pairwise(ticks):
            total = [0] * len(QueueSample().waits)
            for name, one in new.queues.items():
                before = old.queues.get(name, QueueSample()).waits
                total = [a + b for a, b in zip(total, between(before, one.waits), strict=True)]
            points.append((self._x(new.at_ms), quantile(total, share) or 0.0))
        return points


def percent(share: float | None) -> str:
    """A share, or a dash where there is none."""
    return "–" if share is None else f"{100 * share:.0f} %"


def _more(number: int, noun: str) -> str:
    """A line for what a table has no room for."""
    if number <= 0:
        return ""
    return f'<div class="cxm-dim cxm-none">and {plural(number, f"more {noun}")} · <code>codeexec queue</code></div>'


def _span(value: float | None) -> str:
    return "–" if value is None else escaped(seconds(value))


def _megabytes(text: str | None) -> str:
    try:
        value = float(text or "")
    except ValueError:
        return "–"
    return f"{value:.0f} MB" if 0 <= value < 1e9 else "–"


def _tint(colour: str) -> str:
    return f' style="color:var({colour})"' if colour else ""
