# The policies that are measured: as sekisho init makes it, with 1,000,000 ranges, and with all tables full.
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
import sqlite3
import subprocess
import time

RANGES, IDENTITIES, DOMAINS = 1_000_000, 100_000, 10_000
SLOT = 2048  # addresses; a row stands in the lower half of its slot, load.c's clients in the upper
FIRST = 128 << 24


def dotted(number):
    return '.'.join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def ranges(count):
    """Every way a range is written, in no order; nine of ten from an imported list."""
    for n in range(count):
        place = FIRST + (n * 382_911 + 13) % count * SLOT
        shape = n % 4
        if shape == 0:
            text = dotted(place + n % 1000)
        elif shape == 1:
            text = dotted(place + 16) + '/28'
        elif shape == 2:
            text = f'{dotted(place + 5)}-{dotted(place + 199)}'
        else:
            text = dotted(place + 256) + '/24'
        yield (text, 'tempfail' if n % 3 == 0 else 'reject',
               'everyone' if n % 10 == 1 else 'strangers', None if n % 10 == 0 else 'bench')


def make(tool, path, full_ranges=0, identities=0, domains=0):
    """A new policy by `sekisho init`, then the rows in one transaction."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run([tool, '--policy', path, 'init', '--domain', 'd00000.example.jp',
                    '--hostname', 'mx.example.jp'], check=True, stdout=subprocess.DEVNULL)
    db = sqlite3.connect(path)
    # made by ourselves and checked again by whoever loads it: 15 microseconds a row are saved
    db.execute('PRAGMA ignore_check_constraints=ON')
    db.execute('PRAGMA synchronous=OFF')
    # what is measured is the counting, not the refusal of whoever sends as much as this
    db.execute('UPDATE rate_limit SET allowed=1000000000')
    db.executemany('INSERT INTO ip_range(range,verdict,applies_to,source) VALUES(?,?,?,?)',
                   ranges(full_ranges))
    db.executemany('INSERT INTO identity(name) VALUES(?)',
                   ((f'user{n:06}@d00000.example.jp',) for n in range(identities)))
    db.executemany('INSERT INTO local_domain(domain) VALUES(?)',
                   ((f'd{n:05}.example.jp',) for n in range(1, domains)))
    db.commit()
    db.close()


def make_all(tool, folder):
    empty, full, listed = (os.path.join(folder, name, 'policy.db') for name in
                           ('empty', 'full', 'listed'))
    make(tool, empty)
    make(tool, listed, RANGES)
    make(tool, full, RANGES, IDENTITIES, DOMAINS)
    return empty, listed, full


def touch(path):
    """An edit like any other: one row is changed, to what it never was (SQLite would not write)."""
    db = sqlite3.connect(path)
    db.execute('UPDATE ip_range SET note=? WHERE id=(SELECT min(id) FROM ip_range)',
               (f'edit at {time.time_ns()}',))
    db.commit()
    db.close()


def copy(path, folder):
    os.makedirs(folder, exist_ok=True)
    return shutil.copy(path, os.path.join(folder, 'policy.db'))
