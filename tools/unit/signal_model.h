/*
 * tools/unit/signal_model.h
 *		What has to be true of every decoded consent signal, for the unit test
 *		and the fuzzer: a naive reader of vendor sets, and checks.
 *
 * Memory handed to the decoders is allocated in the exact size that they ask
 * for, so that a sanitizer sees one byte too many.
 */
#ifndef CDP_UNIT_SIGNAL_MODEL_H
#define CDP_UNIT_SIGNAL_MODEL_H

#include "core/gpp.h"
#include "core/tcf.h"
#include "core/usp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char model_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* A string of bits under construction or being read, one bit a byte. */
typedef struct ModelBits
{
	unsigned char *bit;
	size_t n;
	size_t room;
} ModelBits;

static inline void
model_put(ModelBits *bits, uint64_t value, unsigned width)
{
	while (width-- > 0)
	{
		if (bits->n == bits->room)
		{
			bits->room = bits->room * 2 + 64;
			bits->bit = realloc(bits->bit, bits->room);
		}
		bits->bit[bits->n++] = width < 64 ? value >> width & 1 : 0;
	}
}

static inline uint64_t
model_get(const ModelBits *bits, size_t *pos, unsigned width)
{
	uint64_t value = 0;

	while (width-- > 0)
		value = value << 1 | bits->bit[(*pos)++];
	return value;
}

/* Fibonacci coding as its definition says: greedy, from the largest number down. */
static inline void
model_put_fibonacci(ModelBits *bits, uint32_t value)
{
	uint64_t number[64] = {1, 2};
	unsigned char word[64] = {0};
	int n = 2;

	while (number[n - 1] <= value)
	{
		number[n] = number[n - 1] + number[n - 2];
		n++;
	}
	while (n > 0 && number[n - 1] > value)
		n--;
	for (int i = n - 1; i >= 0; i--)
	{
		if (number[i] <= value)
		{
			value -= number[i];
			word[i] = 1;
		}
	}
	for (int i = 0; i < n; i++)
		model_put(bits, word[i], 1);
	model_put(bits, 1, 1);
}

/* base64url, to be freed; the bits are used up */
static inline char *
model_text(ModelBits *bits)
{
	size_t len = (bits->n + 5) / 6;
	char *text = malloc(len + 1);
	size_t pos = 0;

	while (bits->n % 6 != 0)
		model_put(bits, 0, 1);
	for (size_t i = 0; i < len; i++)
		text[i] = model_alphabet[model_get(bits, &pos, 6)];
	text[len] = '\0';
	bits->n = 0;
	return text;
}

/* The bits of base64url text. */
static inline void
model_bits(const char *text, size_t len, ModelBits *bits)
{
	bits->n = 0;
	for (size_t i = 0; i < len; i++)
		model_put(bits, strchr(model_alphabet, text[i]) - model_alphabet, 6);
}

/* Ascending, disjoint, not adjacent, from 1 on. */
static inline bool
model_is_set(const CdpVendors *set)
{
	uint32_t before = 0;

	for (uint32_t i = 0; i < set->n; i++)
	{
		uint32_t first = set->range[i] >> 16;
		uint32_t last = set->range[i] & 0xFFFF;

		if (first > last || (i == 0 ? first < 1 : first <= before + 1))
			return false;
		before = last;
	}
	return true;
}

/*
 * Reads a set of a TC string id by id, and compares: the set's words must be
 * those ids.  Moves "pos" behind it.  Only for sets that were read.
 */
static inline bool
model_same_set(const ModelBits *bits, size_t *pos, const CdpVendors *set, bool restriction)
{
	unsigned char *has = calloc(65538, 1);
	uint32_t max = restriction ? 0xFFFF : (uint32_t) model_get(bits, pos, 16);
	bool same = restriction || set->max == max;

	if (restriction || model_get(bits, pos, 1))
	{
		uint32_t n = (uint32_t) model_get(bits, pos, 12);

		same = same && set->is_range;
		while (n-- > 0)
		{
			bool group = model_get(bits, pos, 1);
			uint32_t first = (uint32_t) model_get(bits, pos, 16);
			uint32_t last = group ? (uint32_t) model_get(bits, pos, 16) : first;

			memset(has + first, 1, last - first + 1);
		}
	}
	else
	{
		same = same && !set->is_range;
		for (uint32_t id = 1; id <= max; id++)
			has[id] = (unsigned char) model_get(bits, pos, 1);
	}
	for (uint32_t i = 0; i < set->n; i++)
	{
		for (uint32_t id = set->range[i] >> 16; id <= (set->range[i] & 0xFFFF); id++)
			same = same && has[id]++ == 1;
	}
	for (uint32_t id = 0; id <= 65536; id++)
		same = same && has[id] != 1;
	free(has);
	return same && model_is_set(set);
}

/* Is what was read from the core segment what is written in it? */
static inline bool
model_same_core(const char *text, size_t len, const CdpTcf *tcf)
{
	const char *dot = memchr(text, '.', len);
	ModelBits bits = {NULL, 0, 0};
	size_t pos = 6;
	bool same;

	model_bits(text, dot != NULL ? (size_t) (dot - text) : len, &bits);
	same = tcf->created == model_get(&bits, &pos, 36) &&
		   tcf->last_updated == model_get(&bits, &pos, 36) &&
		   tcf->cmp_id == model_get(&bits, &pos, 12) &&
		   tcf->cmp_version == model_get(&bits, &pos, 12) &&
		   tcf->consent_screen == model_get(&bits, &pos, 6) &&
		   tcf->consent_language[0] - 'A' == (int) model_get(&bits, &pos, 6) &&
		   tcf->consent_language[1] - 'A' == (int) model_get(&bits, &pos, 6) &&
		   tcf->vendor_list_version == model_get(&bits, &pos, 12) &&
		   tcf->tcf_policy_version == model_get(&bits, &pos, 6) &&
		   tcf->is_service_specific == model_get(&bits, &pos, 1) &&
		   tcf->use_non_standard_texts == model_get(&bits, &pos, 1) &&
		   tcf->special_features == model_get(&bits, &pos, 12) &&
		   tcf->purposes_consent == model_get(&bits, &pos, 24) &&
		   tcf->purposes_li == model_get(&bits, &pos, 24) &&
		   tcf->purpose_one_treatment == model_get(&bits, &pos, 1) &&
		   tcf->publisher_cc[0] - 'A' == (int) model_get(&bits, &pos, 6) &&
		   tcf->publisher_cc[1] - 'A' == (int) model_get(&bits, &pos, 6) && pos == 213 &&
		   model_same_set(&bits, &pos, &tcf->vendor_consent, false) &&
		   model_same_set(&bits, &pos, &tcf->vendor_li, false) &&
		   tcf->n_restrictions == model_get(&bits, &pos, 12);
	for (uint32_t i = 0; same && i < tcf->n_restrictions; i++)
		same = tcf->restriction[i].purpose == model_get(&bits, &pos, 6) &&
			   tcf->restriction[i].type == model_get(&bits, &pos, 2) &&
			   model_same_set(&bits, &pos, &tcf->restriction[i].vendors, true);
	same = same && pos <= bits.n;
	free(bits.bit);
	return same;
}

/* Does an error say where and why? */
static inline bool
model_is_error(const CdpSignalError *error, size_t len)
{
	return error->reason != NULL && error->part != NULL && error->at >= 1 &&
		   error->at <= len + 1;
}

/* All that is true of any TC string, valid or not; false is a defect. */
static inline bool
model_check_tcf(const char *text, size_t len, size_t start, bool canada)
{
	void *scratch = malloc(cdp_core_tcf_scratch(len));
	CdpTcf tcf;
	CdpSignalError error;
	bool sound;

	memset(&error, 0, sizeof(error));
	if (!(canada ? cdp_core_tcf_decode_canada(text, len, start, scratch, &tcf, &error) :
				   cdp_core_tcf_decode(text, len, start, scratch, &tcf, &error)))
		sound = model_is_error(&error, start + len) && error.at > start;
	else
	{
		sound = model_is_set(&tcf.vendor_consent) && model_is_set(&tcf.vendor_li) &&
				model_is_set(&tcf.disclosed) && model_is_set(&tcf.allowed) &&
				tcf.num_custom < 64 && tcf.custom_consent >> tcf.num_custom == 0 &&
				tcf.custom_li >> tcf.num_custom == 0;
		for (uint32_t i = 0; i < tcf.n_restrictions; i++)
			sound = sound && model_is_set(&tcf.restriction[i].vendors);
		if (!canada)
			sound = sound && model_same_core(text + start, len, &tcf);
	}
	free(scratch);
	return sound;
}

static inline bool
model_check_gpp(const char *text, size_t len)
{
	void *scratch = malloc(cdp_core_gpp_scratch(len));
	CdpSignalError error;
	CdpGpp gpp;
	bool sound = true;

	memset(&error, 0, sizeof(error));
	if (!cdp_core_gpp_open(text, len, scratch, &gpp, &error))
		sound = model_is_error(&error, len);
	else
	{
		for (uint32_t i = 0; i < gpp.n && sound; i++)
		{
			const CdpGppSection *section = &gpp.section[i];
			CdpGppValue values[CDP_GPP_MAX_VALUES];
			CdpUsp usp;
			const char *prefix;
			int n = 0;

			sound = section->len > 0 && section->start + section->len <= len &&
					(i == 0 || section->id > section[-1].id);
			switch (cdp_core_gpp_kind(section->id, &prefix))
			{
				case CDP_GPP_TCF_EU:
					sound = sound && model_check_tcf(text, section->len, section->start, false);
					break;
				case CDP_GPP_TCF_CANADA:
					sound = sound && model_check_tcf(text, section->len, section->start, true);
					break;
				case CDP_GPP_USP:
					if (!cdp_core_usp_decode(text, section->len, section->start, &usp, &error))
						sound = sound && model_is_error(&error, len);
					break;
				case CDP_GPP_STATE:
					if (!cdp_core_gpp_read_state(text, &gpp, section, values, &n, &error))
						sound = sound && model_is_error(&error, len);
					for (int j = 0; j < n; j++)
						sound = sound && values[j].name != NULL && values[j].n <= CDP_GPP_MAX_LIST;
					break;
				case CDP_GPP_UNKNOWN:
					if (!cdp_core_gpp_check_unknown(text, section, &error))
						sound = sound && model_is_error(&error, len);
					break;
			}
		}
	}
	free(scratch);
	return sound;
}

#endif /* CDP_UNIT_SIGNAL_MODEL_H */
