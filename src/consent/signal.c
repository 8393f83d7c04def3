/*
 * src/consent/signal.c
 *		Consent signals decoded, as SQL functions.
 *
 * The formats are read in core/; here a text becomes a jsonb or an error.  A
 * signal is what a person chose, so an error says where and why it cannot be
 * read, and never quotes it.
 *
 * Nothing here depends on a table or a setting: the functions are IMMUTABLE.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "consent/signal_json.h"

/*
 * Longest signal read, in bytes.  Strings of several thousand bytes are in
 * use, with a set of vendors for each of a dozen restrictions.  It bounds what
 * a call may cost: a few milliseconds and megabytes, whatever is in it.
 */
#define MAX_SIGNAL_BYTES 8192

PG_FUNCTION_INFO_V1(cdp_decode_tcf);
PG_FUNCTION_INFO_V1(cdp_decode_gpp);
PG_FUNCTION_INFO_V1(cdp_decode_usp);

typedef struct Signal
{
	const char *kind; /* as errors name it */
	const char *text;
	size_t len;
	CdpSignalError error;
} Signal;

static void
open_signal(Signal *signal, const char *kind, text *value)
{
	memset(signal, 0, sizeof(*signal));
	signal->kind = kind;
	signal->text = VARDATA_ANY(value);
	signal->len = VARSIZE_ANY_EXHDR(value);
	if (signal->len > MAX_SIGNAL_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too long", kind),
				 errdetail("It has %zu bytes; the limit is %d.", signal->len, MAX_SIGNAL_BYTES),
				 errhint("A signal that cannot be read counts as no consent.")));
}

CDP_NORETURN static void
refuse(const Signal *signal)
{
	const CdpSignalError *error = &signal->error;
	StringInfoData place;
	const char *prefix;

	initStringInfo(&place);
	if (error->section != 0)
	{
		appendStringInfo(&place, "section %u", error->section);
		if (cdp_core_gpp_kind(error->section, &prefix) != CDP_GPP_UNKNOWN)
			appendStringInfo(&place, " %s", prefix);
	}
	appendStringInfo(&place, "%s%s", place.len > 0 ? ", " : "", error->part);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid %s", signal->kind),
			 errdetail("At character %zu (%s): the %s.", error->at, place.data, error->reason),
			 errhint("A signal that cannot be read counts as no consent.")));
	pg_unreachable();
}

/* What the tree of values points to stays as long as the memory context. */
static void
read_tcf(Signal *signal, bool canada, size_t start, size_t len, JsonbValue *out)
{
	CdpTcf *tcf = palloc(sizeof(CdpTcf));
	void *scratch = palloc(cdp_core_tcf_scratch(len));

	if (canada)
	{
		if (!cdp_core_tcf_decode_canada(signal->text, len, start, scratch, tcf, &signal->error))
			refuse(signal);
		cdp_signal_json_canada(out, tcf);
	}
	else
	{
		if (!cdp_core_tcf_decode(signal->text, len, start, scratch, tcf, &signal->error))
			refuse(signal);
		cdp_signal_json_tcf(out, tcf);
	}
}

static CdpUsp *
read_usp(Signal *signal, size_t start, size_t len)
{
	CdpUsp *usp = palloc(sizeof(CdpUsp));

	if (!cdp_core_usp_decode(signal->text, len, start, usp, &signal->error))
		refuse(signal);
	return usp;
}

static void
read_section(Signal *signal, const CdpGpp *gpp, const CdpGppSection *section, JsonbValue *out)
{
	const char *prefix;
	CdpGppValue values[CDP_GPP_MAX_VALUES];
	int n = 0;

	signal->error.section = section->id;
	switch (cdp_core_gpp_kind(section->id, &prefix))
	{
		case CDP_GPP_TCF_EU:
			read_tcf(signal, false, section->start, section->len, out);
			return;
		case CDP_GPP_TCF_CANADA:
			read_tcf(signal, true, section->start, section->len, out);
			return;
		case CDP_GPP_USP:
			cdp_signal_json_usp_section(out, read_usp(signal, section->start, section->len));
			return;
		case CDP_GPP_STATE:
			if (!cdp_core_gpp_read_state(signal->text, gpp, section, values, &n, &signal->error))
				refuse(signal);
			break;
		case CDP_GPP_UNKNOWN:
			if (!cdp_core_gpp_check_unknown(signal->text, section, &signal->error))
				refuse(signal);
			break;
	}
	/* of an unknown one nothing can be said, but that it is there */
	cdp_signal_json_state(out, values, n);
}

Datum
cdp_decode_tcf(PG_FUNCTION_ARGS)
{
	Signal signal;
	JsonbValue out;

	open_signal(&signal, "TC string", PG_GETARG_TEXT_PP(0));
	read_tcf(&signal, false, 0, signal.len, &out);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&out));
}

Datum
cdp_decode_gpp(PG_FUNCTION_ARGS)
{
	Signal signal;
	CdpGpp gpp;
	JsonbValue *sections;
	JsonbValue out;

	open_signal(&signal, "GPP string", PG_GETARG_TEXT_PP(0));
	if (!cdp_core_gpp_open(signal.text, signal.len, palloc(cdp_core_gpp_scratch(signal.len)), &gpp,
						   &signal.error))
		refuse(&signal);
	sections = palloc((gpp.n + 1) * sizeof(JsonbValue));
	for (uint32 i = 0; i < gpp.n; i++)
		read_section(&signal, &gpp, &gpp.section[i], &sections[i]);
	cdp_signal_json_gpp(&out, &gpp, sections);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&out));
}

Datum
cdp_decode_usp(PG_FUNCTION_ARGS)
{
	Signal signal;
	JsonbValue out;

	open_signal(&signal, "US Privacy string", PG_GETARG_TEXT_PP(0));
	cdp_signal_json_usp(&out, read_usp(&signal, 0, signal.len));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&out));
}
