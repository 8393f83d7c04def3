"""psycopg 3: parameters travel apart from the query, numbers typed by their size, text without a type."""
import datetime

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from check import equal, point, run, true

UTC = datetime.timezone.utc
ADA = 'email:ada@psycopg3.example'
db = psycopg.connect('', autocommit=True, row_factory=namedtuple_row)
ids = {}


def rows(query, values=None, **options):
    return db.execute(query, values, **options).fetchall()


def value(query, values=None, **options):
    return rows(query, values, **options)[0][0]


def failure(query, values=None):
    try:
        rows(query, values)
    except psycopg.Error as e:
        return e
    raise AssertionError('no error')


@point('track(text) returns the id, as int')
def _():
    ids['ada'] = value('SELECT cdp.track(%s, %s)', (ADA, 'Signed Up'))
    true(isinstance(ids['ada'], int) and ids['ada'] > 0, 'an id')
    value('SELECT cdp.set_consent(%s, %s, %s)', (ADA, 'service', 'granted'))


@point('who as list and as int, which is a smallint on the wire')
def _():
    who = [ADA, 'cookie:p3 a,b"c\\d {e}\'']
    equal(value('SELECT cdp.identify(%s)', (who,)), ids['ada'])
    equal(value('SELECT cdp.track(%s, %s)', (ids['ada'], 'Seen')), ids['ada'])
    equal(value('SELECT cdp.resolve(%s)', (who[1],)), ids['ada'])
    equal(failure('SELECT cdp.track(%s, %s)', (2 ** 40, 'Seen')).sqlstate, 'P0002')


@point('binary parameters and results')
def _():
    equal(value('SELECT cdp.track(%b, %b, %b, %b, %b)',
                (ADA, 'Binary', Jsonb({'a': 1}), datetime.datetime(2026, 3, 1, 12, tzinfo=UTC), 'p3-bin'), binary=True), ids['ada'])
    equal(value('SELECT cdp.track(%b, %b)', ([ADA], 'Binary'), binary=True), ids['ada'])
    equal(rows('SELECT properties, ts FROM cdp.events WHERE message_id = %b', ('p3-bin',), binary=True)[0],
          ({'a': 1}, datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)))
    equal(rows('SELECT status FROM cdp.ingest(%b)', (Jsonb({'type': 'track', 'userId': 'p3-7', 'event': 'X'}),), binary=True)[0][0], 'accepted')


@point('properties and traits as Jsonb and as text; None; named notation')
def _():
    value('SELECT cdp.identify(%s, %s)', (ADA, Jsonb({'city': 'Paris', 'points': 12, 'member_since': '2026-02-28'})))
    value('SELECT cdp.identify(%s, %s)', (ADA, '{"nick": "ada"}'))
    equal(value('SELECT cdp.track(%s, %s, %s, %s, %s)', (ADA, 'Nothing', None, None, None)), ids['ada'])
    equal(value('SELECT cdp.track(event => %(e)s, who => %(w)s, source => %(s)s)', {'w': ADA, 'e': 'Named', 's': 'web'}), ids['ada'])


@point('times as datetime and date')
def _():
    at = datetime.datetime(2026, 3, 1, 23, 30, 0, 123456, UTC)
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'T', at, 'p3-t1'))
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'T', datetime.datetime(2026, 3, 2, 8, 30, 0, 123456), 'p3-t2'))
    equal({r.ts for r in rows("SELECT ts FROM cdp.events WHERE message_id IN ('p3-t1', 'p3-t2')")}, {at})
    value('SELECT cdp.track(%s, %s, at => %s)', (ADA, 'D', datetime.date(2026, 3, 2)))


@point('prepared, and in a pipeline')
def _():
    for i in range(12):
        value('SELECT cdp.track(%s, %s, %s)', (ADA, 'Often', Jsonb({'i': i})), prepare=True)
    if psycopg.Pipeline.is_supported():
        with db.pipeline():
            cursors = [db.execute('SELECT cdp.track(%s, %s)', ('email:p%d@psycopg3.example' % i, 'Piped')) for i in range(20)]
            equal(len({c.fetchone()[0] for c in cursors}), 20)


@point('executemany')
def _():
    with db.cursor() as cursor:
        cursor.executemany('SELECT cdp.track(%s, %s, message_id => %s)', [(ADA, 'Many', 'p3-m%d' % i) for i in range(5)])
    equal(value("SELECT count(*) FROM cdp.events WHERE name = 'Many' AND profile_id = %s", (ids['ada'],)), 5)


@point('cdp.profiles with the usual types')
def _():
    p = rows('SELECT * FROM cdp.profiles WHERE profile_id = %s', (ids['ada'],))[0]
    equal((p.city, p.points, p.member_since, p.traits), ('Paris', 12, datetime.date(2026, 2, 28), {'nick': 'ada'}))
    equal(p.identifiers, {'cookie': ['p3 a,b"c\\d {e}\''], 'email': ['ada@psycopg3.example']})
    equal(p.segments, ['collectors'])
    true(isinstance(p.events, int) and p.last_seen >= p.first_seen, 'numbers and times')


@point('errors carry SQLSTATE and hint')
def _():
    e = failure('SELECT cdp.track(%s, %s)', ('no namespace', 'X'))
    true(isinstance(e, psycopg.errors.InvalidTextRepresentation), repr(e))
    true('namespace:value' in e.diag.message_hint, e.diag.message_hint)
    equal(failure('SELECT cdp.track(%s, %s)', (None, 'X')).sqlstate, '22004')
    equal(failure('SELECT cdp.define_purpose(%s)', ('mine',)).sqlstate, '42501')
    equal(value('SELECT cdp.resolve(%s)', (ADA,)), ids['ada'])


run()
