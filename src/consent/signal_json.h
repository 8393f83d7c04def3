/*
 * src/consent/signal_json.h
 *		Decoded consent signals as jsonb.
 */
#ifndef CDP_CONSENT_SIGNAL_JSON_H
#define CDP_CONSENT_SIGNAL_JSON_H

#include "utils/jsonb.h"

#include "core/gpp.h"
#include "core/tcf.h"
#include "core/usp.h"

extern void cdp_signal_json_tcf(JsonbValue *out, const CdpTcf *tcf);
extern void cdp_signal_json_canada(JsonbValue *out, const CdpTcf *tcf);
extern void cdp_signal_json_usp(JsonbValue *out, const CdpUsp *usp);
extern void cdp_signal_json_usp_section(JsonbValue *out, const CdpUsp *usp);
extern void cdp_signal_json_state(JsonbValue *out, const CdpGppValue *values, int n);
extern void cdp_signal_json_gpp(JsonbValue *out, const CdpGpp *gpp, JsonbValue *sections);

#endif /* CDP_CONSENT_SIGNAL_JSON_H */
