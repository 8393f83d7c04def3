/*
 * src/core/vendors.c
 *		Consent signals: sets of vendor ids, as ranges.
 *
 * Cost: O(bits) for a field of bits and for ranges in ascending order, which
 * is how they are written; O(n log n) for n ranges in another order.
 */
#include "core/vendors.h"

/* Most significant first, so that sorting by the word is sorting by the first id. */
static inline uint32_t
make_range(uint32_t first, uint32_t last)
{
	return first << 16 | last;
}

static void
sift(uint32_t *a, uint32_t root, uint32_t n)
{
	uint32_t value = a[root];

	for (uint32_t child = 2 * root + 1; child < n; child = 2 * root + 1)
	{
		if (child + 1 < n && a[child + 1] > a[child])
			child++;
		if (a[child] <= value)
			break;
		a[root] = a[child];
		root = child;
	}
	a[root] = value;
}

/* Heap sort: no recursion, no memory, and no input that makes it slow. */
static void
sort_ranges(uint32_t *a, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift(a, i, n);
	while (n > 1)
	{
		uint32_t largest = a[0];

		a[0] = a[--n];
		a[n] = largest;
		sift(a, 0, n);
	}
}

/*
 * Joins ranges that are sorted by their first id and overlap or touch.
 * Returns how many are left.
 */
static uint32_t
unite(uint32_t *a, uint32_t n)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t last = a[i] & 0xFFFF;

		if (kept == 0 || (a[i] >> 16) > (a[kept - 1] & 0xFFFF) + 1)
			a[kept++] = a[i];
		else if (last > (a[kept - 1] & 0xFFFF))
			a[kept - 1] = make_range(a[kept - 1] >> 16, last);
	}
	return kept;
}

static void
open_set(const CdpVendorRoom *room, CdpVendors *set)
{
	set->range = room->range + room->n;
	set->n = 0;
	set->max = 0;
	set->is_range = false;
}

/* Adds a range; true if it comes before the one added last. */
static bool
add_range(CdpVendorRoom *room, CdpVendors *set, uint32_t first, uint32_t last)
{
	uint32_t *at = room->range + room->n;

	if (set->n > 0)
	{
		uint32_t before = at[-1];

		/* the common case of what can be joined at once */
		if (first >= before >> 16 && first <= (before & 0xFFFF) + 1)
		{
			if (last > (before & 0xFFFF))
				at[-1] = make_range(before >> 16, last);
			return false;
		}
	}
	*at = make_range(first, last);
	room->n++;
	return set->n++ > 0 && *at < at[-1];
}

static void
close_set(CdpVendorRoom *room, CdpVendors *set, bool unsorted)
{
	if (unsorted)
	{
		uint32_t *a = room->range + room->n - set->n;

		sort_ranges(a, set->n);
		room->n -= set->n;
		set->n = unite(a, set->n);
		room->n += set->n;
	}
}

/* A field of "n" bits: the first is id 1. */
static bool
read_field(CdpBits *bits, uint32_t n, CdpVendorRoom *room, CdpVendors *set, CdpSignalError *error)
{
	uint32_t id = 0; /* ids looked at */
	uint32_t first = 0; /* of the run of ones that reaches to id; 0: none does */

	if (n > bits->n - bits->pos)
	{
		cdp_core_bits_end(bits);
		return cdp_core_bits_fail(bits, NULL, error);
	}
	while (id < n)
	{
		unsigned width = n - id < 56 ? n - id : 56;
		uint64_t word = cdp_core_bits_read(bits, width) << (64 - width);

		/* leap from one end of a run to the next */
		while (width > 0)
		{
			uint64_t other = first != 0 ? ~word : word;
			unsigned same = other == 0 ? 64 : (unsigned) __builtin_clzll(other);

			if (same >= width)
			{
				id += width;
				break;
			}
			id += same;
			width -= same;
			word <<= same;
			if (first == 0)
				first = id + 1;
			else
			{
				add_range(room, set, first, id);
				first = 0;
			}
		}
	}
	if (first != 0)
		add_range(room, set, first, n);
	return true;
}

/*
 * Reads "Range (Int)": how many items, and for each one id or a first and a
 * last one.  Ids are 1 to "max".  They may come in any order and overlap.
 */
bool
cdp_core_vendors_read_ranges(CdpBits *bits, uint32_t max, CdpVendorRoom *room, CdpVendors *set,
							 CdpSignalError *error)
{
	uint32_t items = (uint32_t) cdp_core_bits_read(bits, 12);
	bool unsorted = false;

	open_set(room, set);
	set->is_range = true;
	while (items-- > 0)
	{
		bool group = cdp_core_bits_read(bits, 1);
		uint32_t first = (uint32_t) cdp_core_bits_read(bits, 16);
		uint32_t last = group ? (uint32_t) cdp_core_bits_read(bits, 16) : first;

		if (bits->short_of)
			break;
		if (first == 0)
			return cdp_core_bits_fail(bits, "vendor id is 0", error);
		if (last < first)
			return cdp_core_bits_fail(bits, "range of vendors ends before it begins", error);
		if (last > max)
			return cdp_core_bits_fail(bits, "vendor id is beyond the stated maximum", error);
		if (add_range(room, set, first, last))
			unsorted = true;
	}
	if (bits->short_of)
		return cdp_core_bits_fail(bits, NULL, error);
	close_set(room, set, unsorted);
	return true;
}

/*
 * Reads a set of a TC string ("OptimizedIntRange"): the largest id, how it is
 * written, and the ids.
 */
bool
cdp_core_vendors_read(CdpBits *bits, CdpVendorRoom *room, CdpVendors *set, CdpSignalError *error)
{
	uint32_t max = (uint32_t) cdp_core_bits_read(bits, 16);
	bool ok;

	if (cdp_core_bits_read(bits, 1))
		ok = cdp_core_vendors_read_ranges(bits, max, room, set, error);
	else
	{
		open_set(room, set);
		ok = bits->short_of ? cdp_core_bits_fail(bits, NULL, error) :
							  read_field(bits, max, room, set, error);
	}
	set->max = (uint16_t) max;
	return ok;
}

/*
 * Reads "OptimizedRange": a field of bits with its length before it, or items
 * in ascending order, each one id or a group, by distance from the last one
 * and length of the group, in Fibonacci coding.
 */
bool
cdp_core_vendors_read_optimized(CdpBits *bits, CdpVendorRoom *room, CdpVendors *set,
								CdpSignalError *error)
{
	uint32_t last = 0;
	uint32_t items;

	open_set(room, set);
	if (!cdp_core_bits_read(bits, 1))
	{
		uint32_t n = (uint32_t) cdp_core_bits_read(bits, 16);

		set->max = (uint16_t) n;
		return bits->short_of ? cdp_core_bits_fail(bits, NULL, error) :
								read_field(bits, n, room, set, error);
	}
	set->is_range = true;
	items = (uint32_t) cdp_core_bits_read(bits, 12);
	while (items-- > 0)
	{
		bool group = cdp_core_bits_read(bits, 1);
		uint32_t step;
		uint32_t more = 0;

		if (!cdp_core_bits_fibonacci(bits, &step) ||
			(group && !cdp_core_bits_fibonacci(bits, &more)) ||
			last + step + more > 0xFFFF)
			return cdp_core_bits_fail(bits, "vendor id is beyond 65535", error);
		add_range(room, set, last + step, last + step + more);
		last += step + more;
	}
	if (bits->short_of)
		return cdp_core_bits_fail(bits, NULL, error);
	return true;
}
