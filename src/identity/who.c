/*
 * src/identity/who.c
 *		The argument "who" of every function that takes a person.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "identity/identity.h"
#include "identity/who.h"

static void
bad_who(const char *reason, const char *text, int len)
{
	bool digits = len > 0;

	for (int i = 0; i < len && digits; i++)
		digits = text[i] >= '0' && text[i] <= '9';
	if (digits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("invalid identifier"),
				 errdetail("The %s.", reason),
				 errhint("A profile id must be given as bigint, such as $1::bigint.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid identifier"),
			 errdetail("The %s.", reason),
			 errhint("Write namespace:value, such as email:ada@example.com, or a set in "
					 "braces.")));
}

/* Reads an argument; raises if it names nobody or is malformed. */
void
cdp_who_read(FunctionCallInfo fcinfo, int arg, CdpWhoKind kind, CdpWho *who)
{
	CdpIdentitySet *set = NULL;
	const char *reason;

	memset(who, 0, sizeof(*who));
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("who must not be null")));
	switch (kind)
	{
		case CDP_WHO_TEXT:
		{
			text *t = PG_GETARG_TEXT_PP(arg);

			if (VARSIZE_ANY_EXHDR(t) == 0)
				break;
			if (!cdp_identity_set_parse(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), &set, &reason))
				bad_who(reason, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
			break;
		}
		case CDP_WHO_ARRAY:
			if (!cdp_identity_set_parse_array(PG_GETARG_ARRAYTYPE_P(arg), &set, &reason))
				bad_who(reason, NULL, 0);
			break;
		case CDP_WHO_SET:
			set = PG_GETARG_CDP_IDENTITY_SET_P(arg);
			break;
		case CDP_WHO_PROFILE:
			who->profile_id = PG_GETARG_INT64(arg);
			if (who->profile_id <= 0)
				ereport(ERROR,
						(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						 errmsg("profile id must be positive")));
			return;
	}
	who->n = set ? cdp_identity_set_count(set) : 0;
	if (who->n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("who names no identifier")));
	who->mentions = palloc(sizeof(CdpMention) * who->n);
	for (int i = 0; i < who->n; i++)
	{
		int len;
		const char *item = cdp_identity_set_get(set, i, &len);
		char *copy = pnstrdup(item, len);
		char *colon = strchr(copy, ':');

		*colon = '\0';
		who->mentions[i].ns = copy;
		who->mentions[i].value = colon + 1;
	}
}
