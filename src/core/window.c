/*
 * src/core/window.c
 *		Windows of time; see window.h.
 *
 * Days of the proleptic Gregorian calendar are counted in the years from
 * March on, so that the leap day is a year's last (H. F. Fliegel and T. C. Van
 * Flandern's idea, Communications of the ACM 11/10, 1968).
 */
#include "core/window.h"

#define USECS_PER_SEC INT64_C(1000000)
#define USECS_PER_DAY (INT64_C(86400) * USECS_PER_SEC)

/* days from 0000-03-01 to 2000-01-01 */
#define DAYS_TO_2000 INT64_C(730425)

/* No part of a period that is written may be larger: 1000 years. */
#define MAX_YEARS 1000

typedef struct Civil
{
	int64_t month; /* since year 0 */
	int day; /* 1 to 31 */
	int64_t usec; /* of the day */
} Civil;

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t
day_of(int64_t month, int day)
{
	int64_t m = month - 2; /* of years that begin in March */
	int64_t year = floor_div(m, 12);

	m -= year * 12;
	return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
		   (m * 153 + 2) / 5 + day - 1 - DAYS_TO_2000;
}

static Civil
civil_of(int64_t ts)
{
	int64_t day = floor_div(ts, USECS_PER_DAY);
	int64_t d = day + DAYS_TO_2000;
	int64_t era = floor_div(d, 146097);
	int64_t of_era = d - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t m = (5 * of_year + 2) / 153;
	Civil c;

	c.month = (era * 400 + year) * 12 + m + 2;
	c.day = (int) (of_year - (153 * m + 2) / 5 + 1);
	c.usec = ts - day * USECS_PER_DAY;
	return c;
}

static int64_t
first_of(int64_t month)
{
	return day_of(month, 1) * USECS_PER_DAY;
}

static int
length_of(int64_t month)
{
	return (int) (day_of(month + 1, 1) - day_of(month, 1));
}

int64_t
cdp_core_window_start(const CdpCorePeriod *period, int64_t now)
{
	if (period->months != 0)
	{
		Civil c = civil_of(now);

		c.month -= period->months;
		now = c.day > length_of(c.month) ? first_of(c.month + 1) - 1 :
										   day_of(c.month, c.day) * USECS_PER_DAY + c.usec;
	}
	return now - period->days * USECS_PER_DAY - period->usecs;
}

int64_t
cdp_core_window_leave(const CdpCorePeriod *period, int64_t ts)
{
	Civil c;

	ts += period->days * USECS_PER_DAY + period->usecs;
	if (period->months == 0)
		return ts;
	c = civil_of(ts);
	c.month += period->months;
	return c.day > length_of(c.month) ? first_of(c.month + 1) :
										day_of(c.month, c.day) * USECS_PER_DAY + c.usec;
}

typedef struct Unit
{
	const char *name; /* singular */
	int32_t months;
	int32_t days;
	int64_t usecs;
} Unit;

static const Unit units[] = {
	{"second", 0, 0, USECS_PER_SEC},
	{"minute", 0, 0, 60 * USECS_PER_SEC},
	{"hour", 0, 0, 3600 * USECS_PER_SEC},
	{"day", 0, 1, 0},
	{"week", 0, 7, 0},
	{"month", 1, 0, 0},
	{"year", 12, 0, 0},
};

/* Does the text begin with the word?  Its length, a final s included, or 0. */
static size_t
word_at(const char *s, size_t len, const char *word)
{
	size_t n = 0;

	while (word[n] && n < len && (s[n] | 0x20) == word[n])
		n++;
	if (word[n])
		return 0;
	if (n < len && (s[n] | 0x20) == 's')
		n++;
	return n < len && s[n] != ' ' ? 0 : n;
}

bool
cdp_core_period_parse(const char *s, size_t len, CdpCorePeriod *period)
{
	size_t i = 0;
	bool any = false;

	*period = (CdpCorePeriod){0};
	for (;;)
	{
		int64_t n = 0;
		size_t digits = 0;
		size_t used = 0;

		while (i < len && s[i] == ' ')
			i++;
		if (i == len)
			return any;
		for (; i < len && s[i] >= '0' && s[i] <= '9'; i++, digits++)
			if ((n = n * 10 + (s[i] - '0')) > MAX_YEARS * INT64_C(366) * 86400)
				return false;
		while (i < len && s[i] == ' ')
			i++;
		if (digits == 0 || n == 0)
			return false;
		for (size_t u = 0; u < sizeof(units) / sizeof(units[0]) && used == 0; u++)
		{
			const Unit *unit = &units[u];

			used = word_at(s + i, len - i, unit->name);
			if (used == 0)
				continue;
			if ((unit->months && n > MAX_YEARS * 12 / unit->months) ||
				(unit->days && n > MAX_YEARS * 366 / unit->days))
				return false;
			period->months += (int32_t) n * unit->months;
			period->days += (int32_t) n * unit->days;
			period->usecs += n * unit->usecs;
		}
		if (used == 0 || period->months > MAX_YEARS * 12 || period->days > MAX_YEARS * 366 ||
			period->usecs > MAX_YEARS * 366 * USECS_PER_DAY)
			return false;
		i += used;
		any = true;
	}
}
