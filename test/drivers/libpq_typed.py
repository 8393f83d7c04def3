"""libpq's PQexecParams and PQprepare with declared parameter types, in text and in binary: what JDBC and other
drivers of typed languages send. A JDBC driver declares strings as varchar, numbers by their Java type, arrays as
text[] or varchar[], and leaves timestamps without a type."""
import ctypes
import ctypes.util
import struct

from check import equal, point, run, true

pq = ctypes.CDLL(ctypes.util.find_library('pq') or 'libpq.so.5')
for name, result, arguments in (
        ('PQconnectdb', ctypes.c_void_p, [ctypes.c_char_p]),
        ('PQstatus', ctypes.c_int, [ctypes.c_void_p]),
        ('PQexecParams', ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int] + [ctypes.c_void_p] * 4 + [ctypes.c_int]),
        ('PQprepare', ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]),
        ('PQexecPrepared', ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int] + [ctypes.c_void_p] * 3 + [ctypes.c_int]),
        ('PQresultStatus', ctypes.c_int, [ctypes.c_void_p]),
        ('PQresultErrorField', ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int]),
        ('PQntuples', ctypes.c_int, [ctypes.c_void_p]),
        ('PQnfields', ctypes.c_int, [ctypes.c_void_p]),
        ('PQgetisnull', ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
        ('PQgetlength', ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
        ('PQgetvalue', ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
        ('PQclear', None, [ctypes.c_void_p])):
    getattr(pq, name).restype = result
    getattr(pq, name).argtypes = arguments

# Object ids of types are the same in every PostgreSQL.
UNKNOWN, INT8, INT2, INT4, TEXT, VARCHAR, NAME, DATE, TIMESTAMP, TIMESTAMPTZ, JSONB, TEXTS, VARCHARS = \
    0, 20, 21, 23, 25, 1043, 19, 1082, 1114, 1184, 3802, 1009, 1015
FATAL_ERROR, TUPLES_OK, COMMAND_OK = 7, 2, 1
ADA = 'email:ada@libpq.example'

db = pq.PQconnectdb(b'')
if pq.PQstatus(db) != 0:
    raise SystemExit('no connection')


class Failure(Exception):
    def __init__(self, result):
        field = lambda c: (pq.PQresultErrorField(result, ord(c)) or b'').decode()
        self.sqlstate, self.text, self.hint = field('C'), field('M'), field('H')
        Exception.__init__(self, '%s: %s' % (self.sqlstate, self.text))


def pack(parameters):
    """(type, value[, binary]) each, value as str, bytes or None -> the arrays libpq wants."""
    n = len(parameters)
    types, values = (ctypes.c_uint * n)(), (ctypes.c_char_p * n)()
    lengths, formats = (ctypes.c_int * n)(), (ctypes.c_int * n)()
    for i, p in enumerate(parameters):
        v = p[1].encode() if isinstance(p[1], str) else p[1]
        types[i], values[i], lengths[i], formats[i] = p[0], v, len(v or b''), int(len(p) > 2 and p[2])
    return types, values, lengths, formats


def take(result, binary):
    try:
        if pq.PQresultStatus(result) not in (TUPLES_OK, COMMAND_OK):
            raise Failure(result)
        def cell(r, c):
            if pq.PQgetisnull(result, r, c):
                return None
            data = ctypes.string_at(pq.PQgetvalue(result, r, c), pq.PQgetlength(result, r, c))
            return data if binary else data.decode()
        return [[cell(r, c) for c in range(pq.PQnfields(result))] for r in range(pq.PQntuples(result))]
    finally:
        pq.PQclear(result)


def rows(query, *parameters, binary=False):
    types, values, lengths, formats = pack(parameters)
    return take(pq.PQexecParams(db, query.encode(), len(parameters), types, values, lengths, formats, int(binary)), binary)


def value(query, *parameters, binary=False):
    return rows(query, *parameters, binary=binary)[0][0]


def failure(query, *parameters):
    try:
        rows(query, *parameters)
    except Failure as e:
        return e
    raise AssertionError('no error')


ids = {}


@point('who and event as varchar, text, name and without a type')
def _():
    ids['ada'] = value('SELECT cdp.track($1, $2)', (VARCHAR, ADA), (VARCHAR, 'Signed Up'))
    value('SELECT cdp.set_consent($1, $2, $3)', (VARCHAR, ADA), (VARCHAR, 'service'), (VARCHAR, 'granted'))
    for t in (TEXT, NAME, UNKNOWN):
        equal(value('SELECT cdp.track($1, $2)', (t, ADA), (t, 'Seen')), ids['ada'])
        equal(value('SELECT cdp.resolve($1)', (t, ADA)), ids['ada'])
        equal(value('SELECT cdp.identify($1)', (t, ADA)), ids['ada'])


@point('who as bigint, int and smallint, in text and in binary')
def _():
    n = int(ids['ada'])
    for t, code in ((INT8, '!q'), (INT4, '!i'), (INT2, '!h')):
        equal(value('SELECT cdp.track($1, $2)', (t, ids['ada']), (VARCHAR, 'Seen')), ids['ada'])
        equal(value('SELECT cdp.track($1, $2)', (t, struct.pack(code, n), True), (VARCHAR, 'Seen')), ids['ada'])
        equal(value('SELECT cdp.resolve($1)', (t, ids['ada'])), ids['ada'])


@point('who as text[] and varchar[], in text and in binary')
def _():
    for t, element in ((TEXTS, TEXT), (VARCHARS, VARCHAR)):
        equal(value('SELECT cdp.track($1, $2)', (t, '{"%s","cookie:l a,b {c}"}' % ADA), (VARCHAR, 'Seen')), ids['ada'])
        items = [ADA.encode(), b'cookie:second']
        wire = struct.pack('!iiiii', 1, 0, element, len(items), 1) + b''.join(struct.pack('!i', len(i)) + i for i in items)
        equal(value('SELECT cdp.identify($1)', (t, wire, True)), ids['ada'])
    equal(value('SELECT cdp.resolve($1)', (VARCHAR, 'cookie:l a,b {c}')), ids['ada'])
    equal(value('SELECT cdp.resolve($1)', (VARCHAR, 'cookie:second')), ids['ada'])


@point('jsonb declared, untyped, cast from varchar, and in binary')
def _():
    props = '{"total": 12.5, "items": ["a", "b"]}'
    for i, (query, p) in enumerate((('$3', (JSONB, props)), ('$3', (UNKNOWN, props)), ('$3::jsonb', (VARCHAR, props)),
                                    ('$3', (JSONB, b'\x01' + props.encode(), True)))):
        equal(value('SELECT cdp.track($1, $2, %s, message_id => $4)' % query, (VARCHAR, ADA), (VARCHAR, 'Json'), p, (VARCHAR, 'lp-j%d' % i)),
              ids['ada'])
    equal(rows("SELECT DISTINCT properties->>'total', properties->'items'->>1, count(*) OVER () FROM cdp.events "
               "WHERE name = 'Json' GROUP BY message_id, properties"), [['12.5', 'b', '4']])
    equal(value('SELECT cdp.identify($1, $2)', (VARCHAR, ADA), (JSONB, '{"city": "Paris", "points": 12}')), ids['ada'])


@point('times as timestamptz, timestamp, date and without a type')
def _():
    for i, p in enumerate(((TIMESTAMPTZ, '2026-03-01T23:30:00.123456Z'), (UNKNOWN, '2026-03-02 08:30:00.123456+09'),
                           (TIMESTAMP, '2026-03-02 08:30:00.123456'),
                           # microseconds since 2000
                           (TIMESTAMPTZ, struct.pack('!q', 825723000123456), True))):
        value('SELECT cdp.track($1, $2, at => $3, message_id => $4)', (VARCHAR, ADA), (VARCHAR, 'Time'), p, (VARCHAR, 'lp-t%d' % i))
    equal(rows("SELECT ts AT TIME ZONE 'UTC', count(*) FROM cdp.events WHERE name = 'Time' GROUP BY 1"), [['2026-03-01 23:30:00.123456', '4']])
    value('SELECT cdp.track($1, $2, at => $3)', (VARCHAR, ADA), (VARCHAR, 'Day'), (DATE, '2026-03-02'))
    equal(value("SELECT ts AT TIME ZONE 'UTC' FROM cdp.events WHERE name = 'Day'"), '2026-03-01 15:00:00')


@point('nulls of every type stand for the defaults')
def _():
    for t in (VARCHAR, UNKNOWN):
        equal(value('SELECT cdp.track($1, $2, $3, $4, $5)', (VARCHAR, ADA), (VARCHAR, 'Null'),
                    (JSONB if t else UNKNOWN, None), (TIMESTAMPTZ if t else UNKNOWN, None), (t, None)), ids['ada'])
    for t in (VARCHAR, TEXTS, INT8, UNKNOWN):
        equal(failure('SELECT cdp.track($1, $2)', (t, None), (VARCHAR, 'X')).sqlstate, '22004')
        equal(value('SELECT cdp.resolve($1)', (t, None)), None)


@point('a statement prepared with types, and one without, used many times')
def _():
    for statement, types in ((b'typed', (VARCHAR, VARCHAR, JSONB)), (b'untyped', (UNKNOWN, UNKNOWN, UNKNOWN))):
        array = (ctypes.c_uint * 3)(*types)
        take(pq.PQprepare(db, statement, b'SELECT cdp.track($1, $2, $3)', 3, array), False)
        seen = set()
        for i in range(12):
            _, values, lengths, formats = pack([(0, 'email:p%d@libpq.example' % (i % 4)), (0, 'Often'), (0, '{"i": %d}' % i)])
            seen.add(take(pq.PQexecPrepared(db, statement, 3, values, lengths, formats, 0), False)[0][0])
        equal(len(seen), 4)


@point('binary results')
def _():
    equal(struct.unpack('!q', value('SELECT cdp.track($1, $2)', (VARCHAR, ADA), (VARCHAR, 'Seen'), binary=True)), (int(ids['ada']),))
    row = rows('SELECT profile_id, events, city, points, segments, identifiers FROM cdp.profiles WHERE profile_id = $1', (INT8, ids['ada']),
               binary=True)[0]
    equal(struct.unpack('!q', row[0]), (int(ids['ada']),))
    true(struct.unpack('!q', row[1])[0] > 10, 'events')
    equal(row[2:4], [b'Paris', struct.pack('!i', 12)])
    # One dimension, no nulls, text, one element from 1 on.
    equal(row[4], struct.pack('!iiiii', 1, 0, TEXT, 1, 1) + struct.pack('!i', 10) + b'collectors')
    true(row[5].startswith(b'\x01{'), 'jsonb')


@point('ingest with jsonb, untyped and cast')
def _():
    body = '[{"type":"track","messageId":"lp-b%d","userId":"lp-7","event":"X"},{"type":"track","messageId":"lp-c%d"}]'
    for i, (query, t) in enumerate((('$1', JSONB), ('$1', UNKNOWN), ('$1::jsonb', VARCHAR))):
        equal([r[:2] for r in rows('SELECT * FROM cdp.ingest(%s, $2)' % query, (t, body % (i, i)), (VARCHAR, 'libpq'))],
              [['lp-b%d' % i, 'accepted'], ['lp-c%d' % i, 'rejected']])


@point('errors carry SQLSTATE and hint')
def _():
    e = failure('SELECT cdp.track($1, $2)', (VARCHAR, 'no namespace'), (VARCHAR, 'X'))
    equal(e.sqlstate, '22P02')
    true('namespace:value' in e.hint, e.hint)
    equal(failure('SELECT cdp.track($1, $2)', (INT8, '-1'), (VARCHAR, 'X')).sqlstate, '22003')
    equal(failure('SELECT cdp.track($1, $2)', (TEXTS, '{}'), (VARCHAR, 'X')).sqlstate, '22023')
    equal(failure('SELECT cdp.define_purpose($1)', (VARCHAR, 'mine')).sqlstate, '42501')
    equal(value('SELECT cdp.resolve($1)', (VARCHAR, ADA)), ids['ada'])


run()
