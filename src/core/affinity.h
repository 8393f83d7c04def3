/*
 * src/core/affinity.h
 *		What somebody likes: decayed sums by value, the heaviest of them.
 *
 * An event gives a value ("shoes") a weight at a time.  Its share of the score
 * at time t is weight * 2^((time - t) / half_life), so the score of a value is
 * a sum that only ever scales as time passes: forward exponential decay
 * (Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay, ICDE 2009).  Sums are
 * kept as of a landmark and scaled when read; therefore a late event is one
 * addition like any other, summaries add, and order among values never changes
 * by time alone.
 *
 * The landmark is a whole number of half-lives since 2000-01-01 UTC, that of
 * the newest event.  Moving it multiplies every number by a power of two, which
 * is exact.  Sums that fall under 2^-1022 this way, about a thousand half-lives
 * later, become 0.
 *
 * At most "slots" values are kept.  What is forgotten is bounded: "absent" is
 * an interval around 0 in which the sum of every value not kept lies, and each
 * kept value carries the interval in which what it missed lies (what absent was
 * when it came).  With A the larger end of absent, M the sum of all |weight|,
 * decayed, and m slots:
 *
 *		A * m <= M,		net - below <= exact sum <= net + above,
 *		0 <= below, above <= A.
 *
 * The argument is that of Space-Saving (Metwally, Agrawal, El Abbadi 2005), for
 * weights of both signs: call max(net + above, below - net) the reach of a
 * value.  The sum over all slots of max(reach, A) is at most M.  An update
 * moves one reach by at most |weight|.  When a value comes and all slots are
 * taken, the smallest of the reaches, the newcomer's included, goes: if it is
 * above A, all reaches are, and A rises to it; otherwise A stays.  Either way
 * the sum grows by |weight| at most.  Summaries merge by adding intervals and
 * forgetting the smallest reaches again, A <= (M1 + M2) / m (Agarwal et al.,
 * Mergeable summaries, 2012; Cafaro et al. 2016).
 *
 * Pure C, no server headers.  Times are microseconds since 2000-01-01 UTC.
 */
#ifndef CDP_CORE_AFFINITY_H
#define CDP_CORE_AFFINITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CDP_AFFINITY_MAX_SLOTS 96
#define CDP_AFFINITY_MAX_VALUE 255 /* bytes */
#define CDP_AFFINITY_MIN_HALF_LIFE INT64_C(1000000) /* a second */
#define CDP_AFFINITY_MAX_HALF_LIFE (INT64_C(36525) * 86400 * 1000000) /* a century */

/*
 * Of one event, and of all of them together: no number of events that fits
 * into a table takes the first to the second, nor a square of it to infinity.
 */
#define CDP_AFFINITY_MAX_WEIGHT 1e100
#define CDP_AFFINITY_MAX_SUM 1e120

typedef enum CdpAffinityStatus
{
	CDP_AFFINITY_DONE,
	CDP_AFFINITY_LONG_VALUE,
	CDP_AFFINITY_BAD_WEIGHT,
	CDP_AFFINITY_BAD_TIME,
	CDP_AFFINITY_BAD_SUM,
	CDP_AFFINITY_OTHER_HALF_LIFE
} CdpAffinityStatus;

/* -- reading: all of a summary, laid open -- */

typedef struct CdpAffinityItem
{
	const char *value;
	size_t len;
	double net; /* sum that is known, as of the landmark */
	double below; /* what is not known: exact >= net - below */
	double above; /* exact <= net + above */
} CdpAffinityItem;

typedef struct CdpAffinityView
{
	int64_t half_life; /* microseconds */
	int64_t landmark; /* half-lives since 2000; 0 if there was no event */
	double plus; /* sum of all positive weights, as of the landmark */
	double minus; /* of all negative ones, without the sign */
	double absent_below; /* a value not here: -absent_below <= exact */
	double absent_above; /* <= absent_above */
	int slots; /* 1 .. CDP_AFFINITY_MAX_SLOTS */
	int count; /* 0 .. slots */
	CdpAffinityItem item[CDP_AFFINITY_MAX_SLOTS];
} CdpAffinityView;

/* affinity_flat.c: bytes to view and back; see there for the layout */
extern bool cdp_core_affinity_open(CdpAffinityView *view, const void *bytes, size_t size,
								   const char **reason);
extern bool cdp_core_affinity_check(const CdpAffinityView *view, const char **reason);
extern void cdp_core_affinity_sort(CdpAffinityView *view);
extern size_t cdp_core_affinity_size(const CdpAffinityView *view);
extern void cdp_core_affinity_write(const CdpAffinityView *view, void *bytes);

extern int cdp_core_affinity_find(const CdpAffinityView *view, const char *value, size_t len);
extern int cdp_core_affinity_rank(const CdpAffinityView *view, int n, uint8_t *order);
extern bool cdp_core_affinity_is_liked(const CdpAffinityView *view, int i);
extern double cdp_core_affinity_at(const CdpAffinityView *view, double sum, int64_t at);
extern double cdp_core_affinity_distance(const CdpAffinityView *a, const CdpAffinityView *b);

/* affinity_text.c: text to view and back */
extern size_t cdp_core_affinity_print(const CdpAffinityView *view, char *out);
extern size_t cdp_core_affinity_print_size(const CdpAffinityView *view);
extern bool cdp_core_affinity_parse(CdpAffinityView *view, const char *text, size_t len,
									char *scratch, const char **reason);

/* -- adding (affinity.c) -- */

/*
 * Where memory comes from: "resize" makes a block if there is none, and does
 * not return without one.  Blocks are never given back: the caller drops them
 * all at once.
 */
typedef struct CdpAffinityHost
{
	void *(*resize)(void *arg, void *block, size_t bytes);
	void *arg;
} CdpAffinityHost;

typedef struct CdpAffinitySlot
{
	double net;
	uint32_t hash;
	uint16_t at; /* where the value starts in bytes */
	uint8_t len;
	uint8_t next; /* in the chain of the same bucket: slot number from 1, 0 ends */
} CdpAffinitySlot;

typedef struct CdpAffinityBound
{
	double below;
	double above;
} CdpAffinityBound;

/* Room in the structure itself, enough for most people in most dimensions. */
#define CDP_AFFINITY_FIRST_SLOTS 8
#define CDP_AFFINITY_FIRST_BYTES 224

/*
 * A summary being made.  Values lie in "bytes" in order of arrival; a hash
 * table of chains finds them once there are more than a scan is good for.
 *
 * When rows come in the order of time rather than of groups, adding one costs
 * what it takes to bring the summary into the cache.  So the usual one is small
 * and in one piece, and what only few need lies elsewhere.
 */
typedef struct CdpAffinity
{
	int64_t half_life;
	int64_t landmark;
	double plus;
	double minus;
	CdpAffinitySlot *slot;
	char *bytes;
	uint8_t *bucket; /* NULL while there are few */
	CdpAffinityBound *bound; /* by slot; NULL while nothing was forgotten */
	uint16_t used; /* of bytes */
	uint16_t bytes_room;
	uint16_t dead; /* of what is used */
	uint8_t slots;
	uint8_t count; /* more than slots for a moment only, while merging */
	uint8_t room;
	bool dated; /* landmark is set */
	CdpAffinitySlot first_slot[CDP_AFFINITY_FIRST_SLOTS];
	char first_bytes[CDP_AFFINITY_FIRST_BYTES];
	double absent_below;
	double absent_above;
	CdpAffinityHost host;
} CdpAffinity;

extern void cdp_core_affinity_init(CdpAffinity *affinity, const CdpAffinityHost *host,
								   int64_t half_life, int slots);
extern CdpAffinityStatus cdp_core_affinity_add(CdpAffinity *affinity, const char *value,
											   size_t len, double weight, int64_t at);
extern CdpAffinityStatus cdp_core_affinity_merge(CdpAffinity *affinity,
												 const CdpAffinityView *other);
extern void cdp_core_affinity_view(const CdpAffinity *affinity, CdpAffinityView *view);

/* -- shared by the three files -- */

extern double cdp_core_affinity_scale(double x, int64_t exponent);
extern int cdp_core_affinity_compare(const char *a, size_t a_len, const char *b, size_t b_len);

#endif /* CDP_CORE_AFFINITY_H */
