# From figures to a page and a picture: medians of paired ratios, with their quartiles.
# SPDX-License-Identifier: BSD-2-Clause
import html
import statistics

BASE = 'b'
SHOWN = {'a': 'a: all answers', 'b-ahead': 'b, reading ahead', 'c-empty': 'c: sekisho, as init makes it',
         'd': 'd: sekisho, all tables full', 'c-empty-null': 'c, log to /dev/null',
         'd-null': 'd, log to /dev/null'}
# name, how to get it, the reach for (c) and (d), whether more is better
MEASURES = [
    ('sessions a second', lambda f: f['rate'], 0.95, True),
    ('CPU a session', lambda f: f['cpu'], 1.08, False),
    ('p50 of RCPT', lambda f: f['rcpt']['p50'], None, False),
    ('p99 of RCPT', lambda f: f['rcpt']['p99'], 1.15, False),
    ('p50 of end of message', lambda f: f['eom']['p50'], None, False),
    ('p99 of end of message', lambda f: f['eom']['p99'], None, False),
    ('p50 of the session', lambda f: f['session']['p50'], None, False),
    ('p99 of the session', lambda f: f['session']['p99'], 1.15, False),
]
PICTURED = ('sessions a second', 'CPU a session', 'p99 of RCPT', 'p99 of the session')


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method='inclusive')
    return low, middle, high


def ratios(rounds, name, get):
    return quartiles([get(one[name]) / get(one[BASE]) for one in rounds])


def mib(size):
    return f'{size / 2**20:.1f}'


def us(nanoseconds):
    return f'{nanoseconds / 1e3:,.0f}'


def mark(value, reach, more):
    if reach is None:
        return ''
    return 'reached' if (value >= reach if more else value <= reach) else '**missed**'


class Page:
    def __init__(self):
        self.lines = []

    def say(self, *lines):
        self.lines += [*lines, '']

    def table(self, head, rows):
        self.lines += ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
        self.lines += ['| ' + ' | '.join(str(cell) for cell in row) + ' |' for row in rows]
        self.lines.append('')


def side_by_side(page, answer):
    for connections, rounds in answer['rounds'].items():
        page.say(f'## {connections} connection{"s" if connections != "1" else ""} at full speed')
        base = rounds
        page.table(['filter', *(measure[0] for measure in MEASURES[:2]), 'RCPT p50 / p99 (µs)',
                    'session p50 / p99 (µs)'],
                   [[name if name != BASE else 'b: the fewest answers',
                     f'{statistics.median(one[key]["rate"] for one in base):.0f}',
                     f'{statistics.median(one[key]["cpu"] for one in base):.1f} µs',
                     *(' / '.join(us(statistics.median(one[key][stage][p] for one in base))
                                 for p in ('p50', 'p99')) for stage in ('rcpt', 'session'))]
                    for key, name in [(BASE, BASE), *SHOWN.items()]])
        page.say('Ratio to (b) in the same round: median (quartiles).')
        rows = []
        for name, get, reach, more in MEASURES:
            row = [name]
            for key in SHOWN:
                low, middle, high = ratios(rounds, key, get)
                row.append(f'{middle:.2f} ({low:.2f}–{high:.2f})')
            words = ''
            if reach is not None:
                words = f'{"at least" if more else "at most"} {reach}: ' + ', '.join(
                    f'{key[0]} {mark(ratios(rounds, key, get)[1], reach, more)}'
                    for key in ('c-empty', 'd'))
            rows.append([*row, words])
        page.table(['', *SHOWN.values(), 'reach of c and d'], rows)


def memory(page, answer):
    page.say('## Memory and loading')
    rows = []
    for name in answer['fresh']:
        fresh, worked = answer['fresh'][name], answer['worked'][name]
        rows.append([SHOWN.get(name, 'b: the fewest answers'), mib(fresh['rss']),
                     mib(worked['rss']), mib(worked['peak']), worked['threads']])
    page.table(['filter', 'resident at start (MiB)', 'after the rounds', 'peak', 'threads'], rows)
    load, weigh = answer['load'], answer['weigh']
    page.table(['policy', 'rows', 'exec to in force (s)', 'copy', 'rows', 'seal', 'proof',
                'policy_size (MiB)', 'resident (MiB)', 'peak (MiB)'],
               [[name, f'{weigh[name]["row_count"]:,}',
                 f'{statistics.median(load[name]["seconds"]):.2f}',
                 *(f'{weigh[name][stage]:.2f}' for stage in ('copy', 'rows', 'seal', 'proof')),
                 mib(weigh[name]['bytes']),
                 mib(statistics.median(one['rss'] for one in load[name]['status'])),
                 mib(statistics.median(one['peak'] for one in load[name]['status']))]
                for name in ('empty', 'listed', 'full')])
    count = weigh['listed']['row_count'] - weigh['empty']['row_count']
    by_size = (weigh['listed']['bytes'] - weigh['empty']['bytes']) / count
    by_rss = (statistics.median(one['rss'] for one in load['listed']['status']) -
              statistics.median(one['rss'] for one in load['empty']['status'])) / count
    seconds = statistics.median(load['full']['seconds'])
    listed = statistics.median(load['listed']['seconds'])
    page.table(['', 'measured', 'reach'], [
        ['bytes a range, policy_size', f'{by_size:.1f}', f'at most 48: {mark(by_size, 48, False)}'],
        ['bytes a range, resident', f'{by_rss:.1f}', f'at most 48: {mark(by_rss, 48, False)}'],
        ['load of 1,000,000 ranges', f'{listed:.2f} s', f'at most 2 s: {mark(listed, 2, False)}'],
        ['load of (d)', f'{seconds:.2f} s', f'at most 2 s: {mark(seconds, 2, False)}'],
    ])


def reloads(page, answer):
    page.say('## Reload of (d)')
    page.say('From the end of the edit to the line "policy N in force" (0.03 s of it and more '
             'are waited for the editor), then until the last good policy is kept. Latency of '
             'RCPT meanwhile, against the second before the edit; '
             'ratios are medians (quartiles) over the edits.')
    rows = []
    for one in answer['reloads']:
        each = [row for row in one['each'] if row['during'].get('p99') and row['quiet'].get('p99')]
        if not each:
            continue
        low, middle, high = quartiles([row['during']['p99'] / row['quiet']['p99'] for row in each])
        keeping = [row['keeping']['p99'] / row['quiet']['p99'] for row in each
                   if row['keeping'].get('p99')]
        pace = f'{one["pace"]} sessions/s' if one['pace'] else 'full speed'
        middle_of = lambda when, what: statistics.median(row[when][what] for row in each)
        rows.append([f'{one["connections"]}, {pace}',
                     f'{statistics.median(row["in_force"] for row in each):.2f} '
                     f'(most {max(row["in_force"] for row in each):.2f})',
                     f'{statistics.median(row["kept"] for row in each):.2f}',
                     us(middle_of('quiet', 'p99')), us(middle_of('during', 'p99')),
                     f'{middle:.2f} ({low:.2f}–{high:.2f})',
                     f'{statistics.median(keeping):.2f}' if keeping else '–',
                     f'{middle_of("during", "p50") / middle_of("quiet", "p50"):.2f}',
                     us(max(row['during']['most'] for row in each)),
                     f'at most 1.5: {mark(middle, 1.5, False)}'])
    page.table(['connections', 'in force (s)', 'kept (s)', 'quiet p99 (µs)', 'p99 during (µs)',
                'p99 during / quiet', 'p99 while keeping / quiet', 'p50 during / quiet',
                'longest (µs)', 'reach'], rows)
    status = answer['reloaded']
    page.say(f'After {sum(len(one["each"]) for one in answer["reloads"])} reloads under load: '
             f'resident {mib(status["rss"])} MiB, peak {mib(status["peak"])} MiB.')


def idle(page, answer):
    page.say('## Idle connections')
    rows = []
    for name, one in answer['idle'].items():
        grown = one['during']['rss'] - one['before']['rss']
        words = ''
        if name == 'c helo':
            words = (f'at most 16 MB: {mark(grown, 16e6, False)}; at most 32 threads: '
                     f'{mark(one["during"]["threads"], 32, False)}')
        rows.append([name[0], 'HELO' if name.endswith('helo') else 'RCPT', f'{one["open"]:,}',
                     mib(one['before']['rss']), mib(one['during']['rss']), mib(grown),
                     f'{grown / max(one["open"], 1):.0f}', one['during']['threads'],
                     mib(one['after']['rss']), words])
    page.table(['filter', 'left after', 'connections', 'resident before (MiB)', 'with them', 'grown',
                'bytes each', 'threads', 'after them', 'reach'], rows)


STYLE = '''
  svg { font: 13px system-ui, sans-serif; }
  .back { fill: #ffffff; } text { fill: #1b1f24; } .soft { fill: #57606a; }
  .grid { stroke: #d0d7de; } .one { stroke: #1b1f24; stroke-width: 1.5; }
  .reach { stroke: #cf222e; stroke-width: 2; } .spread { stroke: #1b1f24; stroke-width: 1.5; }
  .a { fill: #9aa4af; } .c { fill: #3b7dd8; } .d { fill: #1a9c8c; }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117; } text { fill: #e6edf3; } .soft { fill: #9aa4af; }
    .grid { stroke: #30363d; } .one { stroke: #e6edf3; } .spread { stroke: #e6edf3; }
    .reach { stroke: #ff7b72; } .a { fill: #6e7681; } .c { fill: #58a6ff; } .d { fill: #3fc1ae; }
  }
'''


def picture(answer):
    left, right, top, bar, gap = 220, 70, 78, 15, 18
    width = 820
    kinds = [('a', 'a'), ('c-empty', 'c'), ('d', 'd')]
    groups = [(connections, measure) for name in PICTURED for connections in answer['rounds']
              for measure in MEASURES if measure[0] == name]
    most = 2.5
    height = top + len(groups) * (len(kinds) * bar + gap) + 46

    def x(value):
        return left + (width - left - right) * min(value, most) / most

    out = ['<!-- What sekisho costs, as ratios. SPDX-License-Identifier: BSD-2-Clause -->',
           f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
           f'aria-label="sekisho and a filter that answers everything, as ratios to the least '
           f'libmilter can cost"><style>{STYLE}</style>',
           f'<rect class="back" width="{width}" height="{height}"/>',
           '<text x="16" y="26" font-weight="600">Ratio to the least libmilter can cost (b = 1): '
           'median, quartiles; red: the reach</text>']
    place = 16
    for key, kind in kinds:
        out.append(f'<rect class="{kind}" x="{place}" y="40" width="12" height="12"/>'
                   f'<text x="{place + 18}" y="51">{html.escape(SHOWN[key])}</text>')
        place += 40 + 7 * len(SHOWN[key])
    for step in range(int(most / 0.5) + 1):
        value = step * 0.5
        kind = 'one' if value == 1 else 'grid'
        out.append(f'<line class="{kind}" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{top - 8}" '
                   f'y2="{height - 34}"/><text class="soft" text-anchor="middle" '
                   f'x="{x(value):.1f}" y="{height - 16}">{value:g}</text>')
    y = top
    for connections, (name, get, reach, more) in groups:
        words = 'connection' if connections == '1' else 'connections'
        out.append(f'<text x="{left - 12}" y="{y + 18}" text-anchor="end">{html.escape(name)}</text>'
                   f'<text class="soft" x="{left - 12}" y="{y + 35}" text-anchor="end">'
                   f'{connections} {words}, {"more" if more else "less"} is better</text>')
        for row, (key, kind) in enumerate(kinds):
            low, middle, high = ratios(answer['rounds'][connections], key, get)
            at = y + row * bar
            out.append(f'<rect class="{kind}" x="{left}" y="{at}" width="{x(middle) - left:.1f}" '
                       f'height="{bar - 3}"/><line class="spread" x1="{x(low):.1f}" '
                       f'x2="{x(high):.1f}" y1="{at + bar / 2 - 1.5}" y2="{at + bar / 2 - 1.5}"/>'
                       f'<text x="{max(x(middle), x(high)) + 6:.1f}" y="{at + 11}">'
                       f'{middle:.2f}{" →" if middle > most else ""}</text>')
        if reach is not None:
            out.append(f'<line class="reach" x1="{x(reach):.1f}" x2="{x(reach):.1f}" '
                       f'y1="{y + bar - 3}" y2="{y + len(kinds) * bar}"/>')
        y += len(kinds) * bar + gap
    out.append('</svg>')
    return '\n'.join(out) + '\n'


def write(answer, folder):
    versions, page = answer['versions'], Page()
    page.say('<!-- What one run of bench/run measured. SPDX-License-Identifier: BSD-2-Clause -->',
             '# What sekisho costs')
    page.say(f'Measured {versions["date"]} by `bench/run` in {answer["took"] / 60:.1f} minutes: '
             f'{answer["rounds_each"]} rounds, each filter loaded for {answer["slice"]} s a round in '
             'turns (a b c d, d c b a, …), on a machine that others may have used at the same time. '
             'So absolute figures are worth little; ratios within a round are what counts. All filters '
             'but the one that is measured are stopped, so what one has left to do is neither beside '
             'another nor forgotten: it counts as its own processor time.')
    page.table(['', ''], [[key, versions[key]] for key in (
        'sekisho', 'libmilter', 'SQLite', 'compiler', 'kernel', 'processor', 'cores', 'memory')])
    page.say('- (a) a libmilter filter of our own that lets all pass and answers every stage, '
             'headers and body too',
             '- (b) the same with the no-answer flags sekisho negotiates: the least libmilter can '
             'cost as it is',
             '- (b, reading ahead) that with sekisho\'s milter/interpose.c, by which libmilter asks the '
             'kernel less often: what is between it and (c) is what judging, counting and recording cost',
             '- (c) sekisho with the policy `sekisho init` makes',
             f'- (d) sekisho with 1,000,000 ip_range rows, 100,000 identities and 10,000 local '
             'domains')
    page.say('(c) and (d) log to a file (one write a line, as a line to syslog is one too) and, as '
             'filters of their own, to /dev/null. One session: a new connection, negotiation, connect, '
             'HELO, MAIL, RCPT, DATA, what of the message is wanted, end of message, QUIT; three of '
             'four are strangers who write to a local domain, the fourth is a login that writes '
             'outside. Clients are spread over the whole range list and none is refused.')
    page.say('![ratios](ratios.svg)')
    side_by_side(page, answer)
    memory(page, answer)
    reloads(page, answer)
    idle(page, answer)
    text = '\n'.join(page.lines).rstrip() + '\n'
    with open(f'{folder}/README.md', 'w') as file:
        file.write(text)
    with open(f'{folder}/ratios.svg', 'w') as file:
        file.write(picture(answer))
    return text


if __name__ == '__main__':
    import json
    import sys
    with open(sys.argv[1] + '/figures.json') as figures:
        print(write(json.load(figures), sys.argv[1]))
