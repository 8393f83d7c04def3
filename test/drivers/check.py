"""What the Python tests share: named points, printed as they come."""
import sys
import traceback

POINTS = []


def point(name):
    def keep(function):
        POINTS.append((name, function))
        return function
    return keep


def run():
    failed = 0
    for name, function in POINTS:
        try:
            function()
            print('ok - ' + name)
        except Exception:
            failed += 1
            print('not ok - ' + name)
            for line in traceback.format_exc().splitlines():
                print('  ' + line)
        sys.stdout.flush()
    print('done')


def equal(seen, expected):
    if seen != expected:
        raise AssertionError('%r instead of %r' % (seen, expected))


def true(condition, text):
    if not condition:
        raise AssertionError(text)
