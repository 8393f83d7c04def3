"""psycopg2: parameters are written into the query by the client, as literals of their Python type."""
import datetime

import psycopg2
import psycopg2.errors
from psycopg2.extras import Json, NamedTupleCursor

from check import equal, point, run, true

UTC = datetime.timezone.utc
ADA = 'email:ada@psycopg2.example'
db = psycopg2.connect('')
db.autocommit = True
ids = {}


def rows(query, values=None):
    with db.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def value(query, values=None):
    return rows(query, values)[0][0]


def failure(query, values=None):
    try:
        rows(query, values)
    except psycopg2.Error as e:
        return e
    raise AssertionError('no error')


@point('track(text) returns the id, as int')
def _():
    ids['ada'] = value('SELECT cdp.track(%s, %s)', (ADA, 'Signed Up'))
    true(isinstance(ids['ada'], int) and ids['ada'] > 0, 'an id')
    value('SELECT cdp.set_consent(%s, %s, %s)', (ADA, 'service', 'granted'))


@point('who as list, int and set form')
def _():
    who = [ADA, 'cookie:a,b"c\\d {e}\'']
    equal(value('SELECT cdp.identify(%s)', (who,)), ids['ada'])
    equal(value('SELECT cdp.track(%s, %s)', (ids['ada'], 'Seen')), ids['ada'])
    equal(value('SELECT cdp.track(%s, %s)', ('{%s,cookie:c9}' % ADA, 'Seen')), ids['ada'])
    equal(value('SELECT cdp.resolve(%s)', ('cookie:c9',)), ids['ada'])
    equal(value('SELECT cdp.resolve(%s)', (who[1],)), ids['ada'])


@point('properties and traits as Json and as text')
def _():
    props = {'sku': 'a-1', 'tags': ['x', 'ü"\\'], 'ratio': 0.5, 'none': None}
    equal(value('SELECT cdp.track(%s, %s, %s, message_id => %s)', (ADA, 'Viewed', Json(props), 'p2-1')), ids['ada'])
    equal(value('SELECT properties FROM cdp.events WHERE message_id = %s', ('p2-1',)), props)
    value('SELECT cdp.identify(%s, %s)', (ADA, Json({'city': 'Paris', 'points': 12, 'member_since': '2026-02-28'})))
    value('SELECT cdp.identify(%s, %s)', (ADA, '{"nick": "ada"}'))


@point('times as datetime with and without zone, date and text')
def _():
    at = datetime.datetime(2026, 3, 1, 23, 30, 0, 123456, UTC)
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'T', at, 'p2-t1'))
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'T', '2026-03-02T08:30:00.123456+09:00', 'p2-t2'))
    # Without a zone it is the session's: Asia/Tokyo here.
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'T', datetime.datetime(2026, 3, 2, 8, 30, 0, 123456), 'p2-t3'))
    equal({r.ts for r in rows("SELECT ts FROM cdp.events WHERE name = 'T'")}, {at})
    value('SELECT cdp.track(%s, %s, at => %s, message_id => %s)', (ADA, 'D', datetime.date(2026, 3, 2), 'p2-t4'))
    equal(value("SELECT ts FROM cdp.events WHERE name = 'D'"), datetime.datetime(2026, 3, 1, 15, tzinfo=UTC))


@point('None stands for the defaults; named notation; a dict of parameters')
def _():
    equal(value('SELECT cdp.track(%s, %s, %s, %s, %s)', (ADA, 'Nothing', None, None, None)), ids['ada'])
    equal(value('SELECT cdp.track(event => %(event)s, who => %(who)s, source => %(source)s)',
                {'who': ADA, 'event': 'Named', 'source': 'web'}), ids['ada'])


@point('callproc')
def _():
    with db.cursor() as cursor:
        cursor.callproc('cdp.track', [ADA, 'Called'])
        equal(cursor.fetchone()[0], ids['ada'])


@point('ingest of a body, twice')
def _():
    body = [{'type': 'track', 'messageId': 'p2-b1', 'userId': 'p2-7', 'event': "it's"},
            {'type': 'track', 'messageId': 'p2-b2', 'userId': 'p2-7'}]
    equal([(r.message_id, r.status) for r in rows('SELECT * FROM cdp.ingest(%s)', (Json(body),))],
          [('p2-b1', 'accepted'), ('p2-b2', 'rejected')])
    equal([(r.message_id, r.status) for r in rows('SELECT * FROM cdp.ingest(%s, %s)', (Json({'batch': body}), 'default'))],
          [('p2-b1', 'duplicate'), ('p2-b2', 'rejected')])


@point('cdp.profiles with the usual types')
def _():
    p = rows('SELECT * FROM cdp.profiles WHERE profile_id = %s', (ids['ada'],))[0]
    equal((p.city, p.points, p.member_since, p.traits), ('Paris', 12, datetime.date(2026, 2, 28), {'nick': 'ada'}))
    equal(p.identifiers, {'cookie': ['a,b"c\\d {e}\'', 'c9'], 'email': ['ada@psycopg2.example']})
    equal(p.segments, ['collectors'])
    true(isinstance(p.events, int) and p.last_seen >= p.first_seen, 'numbers and times')


@point('errors carry SQLSTATE and hint')
def _():
    e = failure('SELECT cdp.track(%s, %s)', ('no namespace', 'X'))
    true(isinstance(e, psycopg2.errors.InvalidTextRepresentation), repr(e))
    true('namespace:value' in e.diag.message_hint, e.diag.message_hint)
    equal(failure('SELECT cdp.track(%s, %s)', (None, 'X')).pgcode, '22004')
    equal(failure('SELECT cdp.track(%s, %s)', ([], 'X')).pgcode, '22023')
    equal(failure('SELECT cdp.track(%s, %s)', (2 ** 62, 'X')).pgcode, 'P0002')
    equal(failure('SELECT cdp.define_purpose(%s)', ('mine',)).pgcode, '42501')
    equal(value('SELECT cdp.resolve(%s)', (ADA,)), ids['ada'])


@point('a transaction rolled back leaves nothing; a savepoint survives an error')
def _():
    db.autocommit = False
    value('SELECT cdp.track(%s, %s, message_id => %s)', (ADA, 'Gone', 'p2-r1'))
    db.rollback()
    value('SELECT cdp.track(%s, %s, message_id => %s)', (ADA, 'Kept', 'p2-r2'))
    rows('SAVEPOINT s; SELECT 1')
    failure('SELECT cdp.track(%s, %s)', ('no namespace', 'X'))
    rows('ROLLBACK TO s; SELECT 1')
    db.commit()
    db.autocommit = True
    equal([r.message_id for r in rows("SELECT message_id FROM cdp.events WHERE message_id LIKE 'p2-r_'")], ['p2-r2'])


run()
