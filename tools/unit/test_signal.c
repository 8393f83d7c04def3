/*
 * tools/unit/test_signal.c
 *		Unit tests of the decoders of consent signals in src/core/.  Prints TAP.
 *
 * Signals are built bit by bit from models by chance, decoded, and compared
 * with what a naive reader finds (signal_model.h).
 */
#include "signal_model.h"

#include <time.h>

static int tests = 0;
static int failures = 0;
static uint64_t seed = 88172645463325252ULL;

static void
ok(bool passed, const char *name)
{
	printf("%s %d - %s\n", passed ? "ok" : "not ok", ++tests, name);
	if (!passed)
		failures++;
}

static uint32_t
chance(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t) (seed >> 33) % n;
}

/* Processor time of this process, seconds. */
static double
cpu(void)
{
	return (double) clock() / CLOCKS_PER_SEC;
}

/* -- bits -- */

static void
test_bits(void)
{
	unsigned char buffer[CDP_CORE_BITS_SIZE(64)];
	CdpSignalError error;
	CdpBits bits;
	bool same = true;

	for (int round = 0; round < 2000; round++)
	{
		ModelBits model = {NULL, 0, 0};
		size_t n = 1 + chance(384);
		size_t pos = 0;
		char *text;

		for (size_t i = 0; i < n; i++)
			model_put(&model, chance(2), 1);
		text = model_text(&model);
		same = same && cdp_core_bits_open(&bits, text, strlen(text), 0, buffer, &error);
		model_bits(text, strlen(text), &model);
		same = same && bits.n == model.n;
		while (pos < model.n)
		{
			unsigned width = chance(57);

			if (width > model.n - pos)
				width = (unsigned) (model.n - pos);
			same = same && cdp_core_bits_read(&bits, width) == model_get(&model, &pos, width);
		}
		same = same && !bits.short_of && cdp_core_bits_read(&bits, 1) == 0 && bits.short_of;
		free(text);
		free(model.bit);
	}
	ok(same, "bits of any width, as written");

	same = true;
	for (int c = 0; c < 256; c++)
	{
		for (size_t at = 0; at < 6; at++)
		{
			char text[6] = {'A', 'b', '9', '-', '_', 'z'};
			bool good = c != 0 && strchr(model_alphabet, c) != NULL;

			text[at] = (char) c;
			memset(&error, 0, sizeof(error));
			same = same && cdp_core_bits_open(&bits, text, 6, 0, buffer, &error) == good &&
				   (good || error.at == at + 1);
		}
	}
	ok(same, "each character that is not of the alphabet is found at its place");
	ok(!cdp_core_bits_open(&bits, "", 0, 0, buffer, &error) && error.at == 1, "no bits at all");
}

static void
test_fibonacci(void)
{
	unsigned char buffer[CDP_CORE_BITS_SIZE(64)];
	ModelBits model = {NULL, 0, 0};
	CdpSignalError error;
	CdpBits bits;
	bool same = true;
	bool refused = true;

	for (uint32_t n = 1; n < 140000; n++)
	{
		uint32_t value = 0;
		char *text;

		model_put_fibonacci(&model, n);
		text = model_text(&model);
		cdp_core_bits_open(&bits, text, strlen(text), 0, buffer, &error);
		if (n <= 65535)
			same = same && cdp_core_bits_fibonacci(&bits, &value) && value == n;
		else
			refused = refused && !cdp_core_bits_fibonacci(&bits, &value);
		free(text);
	}
	ok(same, "Fibonacci coding of 1 to 65535");
	ok(refused, "larger numbers are refused");
	cdp_core_bits_open(&bits, "AAAAAAAA", 8, 0, buffer, &error);
	ok(!cdp_core_bits_fibonacci(&bits, &(uint32_t){0}) && bits.pos < 30, "zeros have an end");
	cdp_core_bits_open(&bits, "A", 1, 0, buffer, &error);
	ok(!cdp_core_bits_fibonacci(&bits, &(uint32_t){0}) && bits.short_of, "a number cut off");
	free(model.bit);
}

/* -- TC strings -- */

static void
put_ranges(ModelBits *bits, uint32_t max)
{
	uint32_t n = max == 0 ? 0 : chance(12);
	uint32_t next = 1;
	bool ascending = chance(2);

	model_put(bits, n, 12);
	for (uint32_t i = 0; i < n; i++)
	{
		bool group = chance(2);
		uint32_t first = ascending ? next : 1 + chance(max);
		uint32_t last;

		if (first > max)
			first = max;
		last = group ? first + chance(max - first + 1 < 40 ? max - first + 1 : 40) : first;
		model_put(bits, group, 1);
		model_put(bits, first, 16);
		if (group)
			model_put(bits, last, 16);
		next = last + 1 + chance(8);
	}
}

static void
put_vendors(ModelBits *bits)
{
	uint32_t max = chance(8) == 0 ? 65535 : chance(300);

	model_put(bits, max, 16);
	if (max == 65535 || chance(2))
	{
		model_put(bits, 1, 1);
		put_ranges(bits, max);
	}
	else
	{
		uint32_t often = 1 + chance(20);
		unsigned bit = 0;

		model_put(bits, 0, 1);
		for (uint32_t i = 0; i < max; i++)
		{
			if (chance(often) == 0)
				bit = !bit;
			model_put(bits, bit, 1);
		}
	}
}

static void
put_core(ModelBits *bits)
{
	model_put(bits, 2, 6);
	for (int i = 0; i < 6; i++)
		model_put(bits, chance(65536), 12);
	for (int i = 0; i < 2; i++)
		model_put(bits, chance(4096), 12);
	model_put(bits, chance(64), 6);
	model_put(bits, chance(26), 6);
	model_put(bits, chance(26), 6);
	model_put(bits, chance(4096), 12);
	model_put(bits, chance(64), 6);
	model_put(bits, chance(4), 2);
	model_put(bits, chance(4096), 12);
	model_put(bits, chance(1 << 24), 24);
	model_put(bits, chance(1 << 24), 24);
	model_put(bits, chance(2), 1);
	model_put(bits, chance(26), 6);
	model_put(bits, chance(26), 6);
	put_vendors(bits);
	put_vendors(bits);
	if (chance(2))
		model_put(bits, 0, 12);
	else
	{
		uint32_t n = chance(5);

		model_put(bits, n, 12);
		while (n-- > 0)
		{
			model_put(bits, chance(64), 6);
			model_put(bits, chance(4), 2);
			put_ranges(bits, 65535);
		}
	}
}

/* Appends "." and the text of the bits to a string of n characters. */
static void
append(char **text, ModelBits *bits)
{
	char *more = model_text(bits);
	size_t n = strlen(*text);

	*text = realloc(*text, n + strlen(more) + 2);
	(*text)[n] = '.';
	strcpy(*text + n + 1, more);
	free(more);
}

static void
test_tcf(void)
{
	ModelBits bits = {NULL, 0, 0};
	bool same = true;
	bool cut = true;
	bool segments = true;
	bool twice = true;

	for (int round = 0; round < 3000; round++)
	{
		char *text;
		size_t len;
		size_t need;
		void *scratch;
		CdpTcf tcf;
		CdpSignalError error;
		uint64_t custom = chance(1 << 30);
		unsigned num = chance(31);
		uint64_t allowed = chance(1 << 20);

		put_core(&bits);
		need = (bits.n + 5) / 6;
		text = model_text(&bits);
		len = strlen(text);
		scratch = malloc(cdp_core_tcf_scratch(len));
		same = same && cdp_core_tcf_decode(text, len, 0, scratch, &tcf, &error) &&
			   model_same_core(text, len, &tcf);

		/* every needed character is missed, and it is the end where that is seen */
		if (round % 20 == 0)
		{
			for (size_t n = 0; n < need; n++)
			{
				char *part = malloc(n > 0 ? n : 1);

				memcpy(part, text, n);
				cut = cut && model_check_tcf(part, n, 0, false) &&
					  !cdp_core_tcf_decode(part, n, 0, scratch, &tcf, &error) &&
					  error.at == n + 1;
				free(part);
			}
		}
		free(scratch);

		/* the other segments */
		custom &= ((uint64_t) 1 << num) - 1;
		model_put(&bits, 3, 3);
		model_put(&bits, 0x800001, 24);
		model_put(&bits, 0x400002, 24);
		model_put(&bits, num, 6);
		model_put(&bits, custom, num);
		model_put(&bits, ~custom, num);
		append(&text, &bits);
		model_put(&bits, 2, 3);
		model_put(&bits, 20, 16);
		model_put(&bits, 0, 1);
		model_put(&bits, allowed, 20);
		append(&text, &bits);
		len = strlen(text);
		scratch = malloc(cdp_core_tcf_scratch(len + 100));
		segments = segments && cdp_core_tcf_decode(text, len, 0, scratch, &tcf, &error) &&
				   tcf.has_publisher && tcf.has_allowed && !tcf.has_disclosed &&
				   tcf.publisher_consent == 0x800001 && tcf.publisher_li == 0x400002 &&
				   tcf.num_custom == num && tcf.custom_consent == custom &&
				   tcf.custom_li == (~custom & (((uint64_t) 1 << num) - 1)) &&
				   tcf.allowed.max == 20 && model_check_tcf(text, len, 0, false);
		model_put(&bits, 2, 3);
		model_put(&bits, 0, 17);
		append(&text, &bits);
		twice = twice && !cdp_core_tcf_decode(text, strlen(text), 0, scratch, &tcf, &error) &&
				error.at == len + 2;
		free(scratch);
		free(text);
	}
	ok(same, "cores by chance are read as they are written");
	ok(cut, "a core that ends early is refused, and its end named");
	ok(segments, "other segments in any order");
	ok(twice, "a segment that is there twice is refused");
	free(bits.bit);
}

/* 63 custom purposes: more bits than are read at once */
static void
test_custom(void)
{
	ModelBits bits = {NULL, 0, 0};
	char *text;
	void *scratch;
	CdpTcf tcf;
	CdpSignalError error;

	put_core(&bits);
	text = model_text(&bits);
	model_put(&bits, 3, 3);
	model_put(&bits, 0, 48);
	model_put(&bits, 63, 6);
	model_put(&bits, 0x5555555555555555ULL, 63);
	model_put(&bits, 0x4000000000000001ULL, 63);
	append(&text, &bits);
	scratch = malloc(cdp_core_tcf_scratch(strlen(text)));
	ok(cdp_core_tcf_decode(text, strlen(text), 0, scratch, &tcf, &error) && tcf.num_custom == 63 &&
		   tcf.custom_consent == 0x5555555555555555ULL && tcf.custom_li == 0x4000000000000001ULL,
	   "63 custom purposes");
	free(scratch);
	free(text);
	free(bits.bit);
}

/* A range is taken if it is within 1 and the maximum, and goes up. */
static void
test_range_limits(void)
{
	ModelBits bits = {NULL, 0, 0};
	bool same = true;

	for (uint32_t i = 0; i < 6 * 6 * 6; i++)
	{
		uint32_t max = i % 6;
		uint32_t first = i / 6 % 6;
		uint32_t last = i / 36;
		unsigned char buffer[CDP_CORE_BITS_SIZE(64)];
		uint32_t room_for[CDP_CORE_VENDOR_ROOM(64)];
		CdpVendorRoom room = {room_for, 0};
		CdpVendors set;
		CdpSignalError error;
		CdpBits reader;
		char *text;

		model_put(&bits, max, 16);
		model_put(&bits, 1, 1);
		model_put(&bits, 1, 12);
		model_put(&bits, 1, 1);
		model_put(&bits, first, 16);
		model_put(&bits, last, 16);
		text = model_text(&bits);
		cdp_core_bits_open(&reader, text, strlen(text), 0, buffer, &error);
		same = same && cdp_core_vendors_read(&reader, &room, &set, &error) ==
						   (1 <= first && first <= last && last <= max);
		free(text);
	}
	ok(same, "ranges from 1 to the maximum, upwards, and no others");
	free(bits.bit);
}

/* What costs most: ranges that overlap, in descending order, and as many restrictions as fit. */
static void
test_bombs(void)
{
	static const struct
	{
		const char *name;
		bool descending;
		bool restrictions;
	} bomb[] = {{"4095 ranges 1 to 65535", false, false},
				{"4095 ranges in descending order", true, false},
				{"4095 restrictions without vendors", false, true}};
	ModelBits bits = {NULL, 0, 0};

	for (int i = 0; i < 3; i++)
	{
		char *text;
		void *scratch;
		size_t len;
		CdpTcf tcf;
		CdpSignalError error;
		double start;
		double took;
		bool read = true;

		model_put(&bits, 2, 6);
		for (int j = 0; j < 207; j++)
			model_put(&bits, 0, 1);
		if (!bomb[i].restrictions)
		{
			model_put(&bits, 65535, 16);
			model_put(&bits, 1, 1);
			model_put(&bits, 4095, 12);
			for (uint32_t j = 0; j < 4095; j++)
			{
				model_put(&bits, 1, 1);
				model_put(&bits, bomb[i].descending ? 60000 - j * 14 : 1, 16);
				model_put(&bits, bomb[i].descending ? 60000 - j * 14 + 12 : 65535, 16);
			}
			model_put(&bits, 0, 17 + 12);
		}
		else
		{
			model_put(&bits, 0, 17 + 17);
			model_put(&bits, 4095, 12);
			for (int j = 0; j < 4095; j++)
				model_put(&bits, 0, 20);
		}
		text = model_text(&bits);
		len = strlen(text);
		scratch = malloc(cdp_core_tcf_scratch(len));
		start = cpu();
		for (int j = 0; j < 20; j++)
			read = read && cdp_core_tcf_decode(text, len, 0, scratch, &tcf, &error);
		took = (cpu() - start) / 20;
		printf("# %s: %zu characters, %.0f us, %zu bytes\n", bomb[i].name, len, took * 1e6,
			   cdp_core_tcf_scratch(len));
		ok(read && model_same_core(text, len, &tcf) && took < 0.01 &&
			   cdp_core_tcf_scratch(len) <= 1024 * 1024,
		   bomb[i].name);
		free(scratch);
		free(text);
	}
	free(bits.bit);
}

/* -- Canada -- */

static void
test_canada(void)
{
	ModelBits bits = {NULL, 0, 0};
	bool same = true;

	for (int round = 0; round < 1000; round++)
	{
		unsigned char has[400] = {0};
		uint32_t items = chance(10);
		uint32_t last = 0;
		uint32_t field = chance(80);
		uint64_t word = chance(1 << 30);
		char *text;
		size_t len;
		void *scratch;
		CdpTcf tcf;
		CdpSignalError error;

		model_put(&bits, 1, 6);
		model_put(&bits, 0, 36 + 36 + 12 + 12 + 6);
		model_put(&bits, 5 << 6 | 17, 12); /* FR */
		model_put(&bits, 7, 12);
		model_put(&bits, 2, 6);
		model_put(&bits, 1, 1);
		model_put(&bits, 0x801, 12);
		model_put(&bits, 0x800001, 24);
		model_put(&bits, 0x400002, 24);
		/* a Fibonacci range, then a field of bits */
		model_put(&bits, 1, 1);
		model_put(&bits, items, 12);
		for (uint32_t i = 0; i < items; i++)
		{
			bool group = chance(2);
			uint32_t step = 1 + chance(20);
			uint32_t more = group ? 1 + chance(10) : 0;

			model_put(&bits, group, 1);
			model_put_fibonacci(&bits, step);
			if (group)
				model_put_fibonacci(&bits, more);
			memset(has + last + step, 1, more + 1);
			last += step + more;
		}
		model_put(&bits, 0, 1);
		model_put(&bits, field, 16);
		for (uint32_t i = 0; i < field; i++)
			model_put(&bits, word >> i % 30 & 1, 1);
		model_put(&bits, 1, 12);
		model_put(&bits, 3, 6);
		model_put(&bits, 1, 2);
		model_put(&bits, 0, 1);
		model_put(&bits, 3, 16);
		model_put(&bits, 5, 3);
		text = model_text(&bits);
		len = strlen(text);
		scratch = malloc(cdp_core_tcf_scratch(len));
		same = same && cdp_core_tcf_decode_canada(text, len, 0, scratch, &tcf, &error) &&
			   tcf.consent_language[0] == 'F' && tcf.consent_language[1] == 'R' &&
			   tcf.vendor_list_version == 7 && tcf.tcf_policy_version == 2 &&
			   tcf.use_non_standard_texts && tcf.special_features == 0x801 &&
			   tcf.purposes_consent == 0x800001 && tcf.purposes_li == 0x400002 &&
			   model_is_set(&tcf.vendor_consent) && model_is_set(&tcf.vendor_li) &&
			   tcf.n_restrictions == 1 && tcf.restriction[0].purpose == 3 &&
			   tcf.restriction[0].vendors.n == 2 && model_check_tcf(text, len, 0, true);
		for (uint32_t i = 0; same && i < tcf.vendor_consent.n; i++)
		{
			for (uint32_t id = tcf.vendor_consent.range[i] >> 16;
				 id <= (tcf.vendor_consent.range[i] & 0xFFFF); id++)
				same = same && has[id]++ == 1;
		}
		for (int id = 0; id < 400; id++)
			same = same && has[id] != 1;
		free(scratch);
		free(text);
	}
	ok(same, "Canadian strings are read as they are written");
	free(bits.bit);
}

/* -- GPP -- */

static void
test_gpp(void)
{
	ModelBits bits = {NULL, 0, 0};
	bool same = true;
	bool few = true;
	bool many = true;

	for (int round = 0; round < 3000; round++)
	{
		uint32_t ids[64];
		uint32_t n = 0;
		uint32_t last = 27; /* unknown ones, with any content */
		uint32_t items = chance(8);
		char *text;
		size_t len;
		void *scratch;
		CdpGpp gpp;
		CdpSignalError error;

		model_put(&bits, 3, 6);
		model_put(&bits, 1, 6);
		model_put(&bits, items, 12);
		for (uint32_t i = 0; i < items; i++)
		{
			bool group = chance(2);
			uint32_t step = 1 + chance(chance(2) ? 10 : 5000);
			uint32_t more = group ? 1 + chance(5) : 0;

			model_put(&bits, group, 1);
			model_put_fibonacci(&bits, i == 0 ? last + step : step);
			if (group)
				model_put_fibonacci(&bits, more);
			for (uint32_t j = 0; j <= more; j++)
				ids[n++] = last + step + j;
			last += step + more;
		}
		text = model_text(&bits);
		len = strlen(text);
		text = realloc(text, len + 4 * (n + 2));
		for (uint32_t i = 0; i < n; i++)
		{
			strcpy(text + len, "~a.");
			len += 3;
		}
		scratch = malloc(cdp_core_gpp_scratch(len));
		same = same && cdp_core_gpp_open(text, len, scratch, &gpp, &error) && gpp.n == n &&
			   gpp.version == 1 && model_check_gpp(text, len);
		for (uint32_t i = 0; same && i < n; i++)
			same = gpp.section[i].id == ids[i];
		free(scratch);
		scratch = malloc(cdp_core_gpp_scratch(len + 2));
		if (n > 0)
			few = few && !cdp_core_gpp_open(text, len - 3, scratch, &gpp, &error);
		strcpy(text + len, "~b");
		many = many && !cdp_core_gpp_open(text, len + 2, scratch, &gpp, &error) &&
			   error.at == len + 2;
		free(scratch);
		free(text);
	}
	ok(same, "headers by chance are read as they are written");
	ok(few, "a section too few is refused");
	ok(many, "a section too many is refused, at its place");
	free(bits.bit);
}

static void
test_usp(void)
{
	static const char letters[] = "YN-yn1 ";
	bool same = true;

	for (int i = 0; i < 7 * 7 * 7; i++)
	{
		char text[4] = {'1', letters[i % 7], letters[i / 7 % 7], letters[i / 49]};
		bool good = i % 7 < 3 && i / 7 % 7 < 3 && i / 49 < 3;
		CdpUsp usp;
		CdpSignalError error;

		same = same && cdp_core_usp_decode(text, 4, 0, &usp, &error) == good &&
			   (!good || (usp.notice == text[1] && usp.opt_out_sale == text[2] &&
						  usp.lspa_covered == text[3])) &&
			   !cdp_core_usp_decode(text, 3, 0, &usp, &error);
	}
	ok(same, "US Privacy strings: 27, and no others");
}

/* Not a test: how long typical strings take. */
static void
measure(void)
{
	enum
	{
		N = 256
	};
	ModelBits bits = {NULL, 0, 0};
	char *text[N];
	size_t characters = 0;
	void *scratch = malloc(cdp_core_tcf_scratch(20000));
	double start;
	double took;
	CdpTcf tcf;
	CdpSignalError error;
	bool read = true;

	for (int i = 0; i < N; i++)
	{
		put_core(&bits);
		text[i] = model_text(&bits);
		characters += strlen(text[i]);
	}
	start = cpu();
	for (int round = 0; round < 200; round++)
	{
		for (int i = 0; i < N; i++)
			read = read && cdp_core_tcf_decode(text[i], strlen(text[i]), 0, scratch, &tcf, &error);
	}
	took = (cpu() - start) / (200 * N);
	printf("# %zu characters on average: %.2f us, %.0f a second\n", characters / N, took * 1e6,
		   1 / took);
	ok(read, "strings by chance in a row");
	for (int i = 0; i < N; i++)
		free(text[i]);
	free(scratch);
	free(bits.bit);
}

int
main(void)
{
	test_bits();
	test_fibonacci();
	test_tcf();
	test_custom();
	test_range_limits();
	test_bombs();
	test_canada();
	test_gpp();
	test_usp();
	measure();
	printf("1..%d\n", tests);
	return failures > 0;
}
