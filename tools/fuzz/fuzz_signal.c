/*
 * tools/fuzz/fuzz_signal.c
 *		libFuzzer target for the decoders of consent signals: core/bits.c,
 *		vendors.c, tcf.c, gpp.c, gpp_state.c, usp.c.
 *
 * The first byte chooses the format, and whether the rest is text or bits
 * that are made to text of the alphabet (so that most of what is tried comes
 * past the first character).  What is decoded must be what a naive reader
 * finds there, in memory of the exact size.
 */
#include "../unit/signal_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Text of the low six bits of each byte; the two largest bytes also end a segment or a section. */
static char *
text_of_bits(const uint8_t *data, size_t size, const char *head, const char *ends, size_t *len)
{
	size_t n = strlen(head);
	char *text = malloc(n + size * 2 + 1);

	memcpy(text, head, n);
	for (size_t i = 0; i < size; i++)
	{
		text[n++] = model_alphabet[data[i] & 63];
		if (data[i] >= 254)
			text[n++] = ends[data[i] & 1];
	}
	*len = n;
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* a version, a plausible header */
	static const char *const head[] = {"C", "B", "DB", "DBABM~C", "DBABjw~BAAA~", "DBABrw~"};
	unsigned choice;
	char *text;
	size_t len;
	bool sound = true;

	if (size == 0)
		return 0;
	choice = *data++;
	size--;
	/* a file of the corpus ends with a newline */
	if (size > 0 && data[size - 1] == '\n')
		size--;
	if (choice & 1)
		text = text_of_bits(data, size, head[choice / 8 % 6], ".~", &len);
	else
	{
		len = size;
		text = malloc(size > 0 ? size : 1);
		memcpy(text, data, size);
	}
	/* exactly as long as it is */
	text = realloc(text, len > 0 ? len : 1);
	switch (choice / 2 % 4)
	{
		case 0:
			sound = model_check_tcf(text, len, 0, false);
			break;
		case 1:
			sound = model_check_gpp(text, len);
			break;
		case 2:
			sound = model_check_tcf(text, len, 0, true);
			break;
		case 3:
		{
			CdpUsp usp;
			CdpSignalError error = {NULL, NULL, 0, 0};

			sound = cdp_core_usp_decode(text, len, 0, &usp, &error) || model_is_error(&error, len);
			break;
		}
	}
	free(text);
	if (!sound)
		abort();
	return 0;
}
