/*
 * src/core/phone_table.c
 *		Numbering plans: which telephone numbers the stated countries have.
 *
 * Written from the countries' published numbering plans, and deliberately
 * coarse: leading digits and lengths, not who runs them.  A range that is
 * missing costs a match, one that is too wide costs nothing, for the digits
 * of a number are never changed beyond what is dialled before it.  What would
 * do harm is a wrong trunk prefix, or a length that lets a number without its
 * area code pass for a whole one; these are what the tests look at.
 *
 * Short numbers (emergency, directory, 13xxxx) are left out on purpose: they
 * are nobody's.
 *
 * tools/phone/ compares all this with libphonenumber's metadata.
 */
#include "core/phone.h"

#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define PLAN(country, code, trunk, exit, bare) \
	static const CdpCorePhonePlan plan_##country = { \
		code, trunk, exit, bare, country, LENGTH(country)}
#define NO_BARE CDP_CORE_PHONE_NO_BARE

/* -- North American Numbering Plan: 25 countries and territories share it -- */

/* The "1" before a number at home is the country code itself. */
static const CdpCorePhoneRange nanp[] = {
	{"[2-9][02-8].[2-9]", 10, 10},
	{"[2-9]1[02-9][2-9]", 10, 10}};
PLAN(nanp, "1", "", "011", 10);

/* -- Asia -- */

static const CdpCorePhoneRange jp[] = {
	{"[1-9][1-9]", 9, 9},
	{"[5-9]0[1-9]", 10, 10},
	{"800", 10, 10}};
PLAN(jp, "81", "0", "010", 9);

static const CdpCorePhoneRange kr[] = {
	{"2[2-9]", 8, 9},
	{"3[1-3][1-9]", 9, 10},
	{"4[1-4][1-9]", 9, 10},
	{"5[1-5][1-9]", 9, 10},
	{"6[1-4][1-9]", 9, 10},
	{"10[2-9]", 10, 10},
	{"1[16-9][2-9]", 9, 10},
	{"50", 10, 11},
	{"70", 10, 10},
	{"80", 9, 10}};
PLAN(kr, "82", "0", "", 9);

static const CdpCorePhoneRange cn[] = {
	{"1[3-9]", 11, 11},
	{"10[1-9]", 10, 10},
	{"2[0-57-9][1-9]", 10, 10},
	{"3[1-79]", 10, 11},
	{"4[1-8]", 10, 11},
	{"5[1-9]", 10, 11},
	{"6[369]", 10, 11},
	{"7[0-9]", 10, 11},
	{"8[1-357-9]", 10, 11},
	{"9[0-79]", 10, 11},
	{"[48]00", 10, 10}};
PLAN(cn, "86", "0", "00", 10);

static const CdpCorePhoneRange tw[] = {
	{"9", 9, 9},
	{"2[2-8]", 9, 9},
	{"4[2-9]", 8, 9},
	{"[35-8][2-9]", 8, 8},
	{"800", 9, 9},
	{"70", 10, 10}};
PLAN(tw, "886", "0", "", 9);

static const CdpCorePhoneRange hk[] = {
	{"[235-9]", 8, 8},
	{"800", 9, 9}};
PLAN(hk, "852", "", "", 8);

static const CdpCorePhoneRange mo[] = {
	{"28", 8, 8},
	{"[68]", 8, 8}};
PLAN(mo, "853", "", "00", 8);

static const CdpCorePhoneRange sg[] = {
	{"[3689]", 8, 8},
	{"800", 10, 10},
	{"1800", 11, 11}};
PLAN(sg, "65", "", "", 8);

static const CdpCorePhoneRange my[] = {
	{"1[02-46-9]", 9, 9},
	{"1[15]", 10, 10},
	{"3", 9, 9},
	{"[4-79]", 8, 8},
	{"8[2-9]", 8, 8},
	{"1[38]00", 10, 10}};
PLAN(my, "60", "0", "00", 9);

static const CdpCorePhoneRange th[] = {
	{"[2-57]", 8, 8},
	{"[689]", 9, 9},
	{"1800", 10, 10}};
PLAN(th, "66", "0", "", 9);

static const CdpCorePhoneRange id[] = {
	{"8[1-35-9]", 9, 12},
	{"2", 8, 11},
	{"[3-7]", 8, 11},
	{"9", 8, 10}};
PLAN(id, "62", "0", "", 9);

static const CdpCorePhoneRange ph[] = {
	{"[89]", 10, 10},
	{"2", 9, 9},
	{"[3-8][2-8]", 9, 9}};
PLAN(ph, "63", "0", "00", 9);

static const CdpCorePhoneRange vn[] = {
	{"[35789]", 9, 9},
	{"2", 10, 10}};
PLAN(vn, "84", "0", "00", 9);

static const CdpCorePhoneRange in[] = {
	{"1[1-9]", 10, 10},
	{"[2-9]", 10, 10},
	{"1800", 11, 11}};
PLAN(in, "91", "0", "00", 10);

static const CdpCorePhoneRange tr[] = {
	{"[2-5]", 10, 10},
	{"8", 10, 10}};
PLAN(tr, "90", "0", "00", 10);

static const CdpCorePhoneRange il[] = {
	{"[23489]", 8, 8},
	{"[57]", 9, 9},
	{"1[78]00", 10, 10}};
PLAN(il, "972", "0", "00 01[2-9]", 8);

static const CdpCorePhoneRange ae[] = {
	{"[2-4679]", 8, 8},
	{"5", 9, 9},
	{"600", 9, 9}};
PLAN(ae, "971", "0", "00", 8);

static const CdpCorePhoneRange sa[] = {
	{"1", 9, 9},
	{"5", 9, 9},
	{"92", 9, 9},
	{"800", 10, 10}};
PLAN(sa, "966", "0", "00", 9);

/* -- Oceania -- */

static const CdpCorePhoneRange au[] = {
	{"[2-578]", 9, 9},
	{"1[38]00", 10, 10}};
PLAN(au, "61", "0", "001[14-689]", 9);

static const CdpCorePhoneRange nz[] = {
	{"3[2-79]", 8, 8},
	{"[49][2-9]", 8, 8},
	{"6[235-9]", 8, 8},
	{"7[2-57-9]", 8, 8},
	{"2[0-29]", 8, 10},
	{"2[78]", 9, 10},
	{"508", 9, 9},
	{"800", 9, 10}};
PLAN(nz, "64", "0", "00", 8);

/* -- Europe -- */

static const CdpCorePhoneRange gb[] = {
	{"1[1-9]", 10, 10},
	{"2[03489]", 10, 10},
	{"3[0347]", 10, 10},
	{"5[56]", 10, 10},
	{"7", 10, 10},
	{"800", 9, 10},
	{"8[0247]", 10, 10},
	{"9[018]", 10, 10}};
PLAN(gb, "44", "0", "00", 9);

static const CdpCorePhoneRange ie[] = {
	{"1[2-9]", 8, 8},
	{"8[3-9]", 9, 9},
	{"818", 9, 9},
	{"[24-79]", 7, 9},
	{"1[58][05-9]", 10, 10}};
PLAN(ie, "353", "0", "00", 8);

static const CdpCorePhoneRange fr[] = {
	{"[1-9]", 9, 9}};
PLAN(fr, "33", "0", "00", 9);

static const CdpCorePhoneRange de[] = {
	{"15", 11, 11},
	{"16[023]", 10, 11},
	{"17", 10, 11},
	{"[2-9]", 6, 13},
	{"180", 8, 11},
	{"800", 7, 13}};
PLAN(de, "49", "0", "00", NO_BARE);

static const CdpCorePhoneRange at[] = {
	{"1", 7, 12},
	{"[2-57]", 7, 12},
	{"6", 7, 13},
	{"[89]", 9, 13}};
PLAN(at, "43", "0", "00", NO_BARE);

static const CdpCorePhoneRange ch[] = {
	{"[2-9]", 9, 9}};
PLAN(ch, "41", "0", "00", 9);

/* The zero of a fixed line belongs to the number. */
static const CdpCorePhoneRange it[] = {
	{"0[1-9]", 6, 11},
	{"3[1-9]", 9, 10},
	{"55", 10, 10},
	{"80[03]", 6, 9}};
PLAN(it, "39", "", "00", 0);

static const CdpCorePhoneRange es[] = {
	{"[6-9]", 9, 9},
	{"51", 9, 9}};
PLAN(es, "34", "", "00", 0);

static const CdpCorePhoneRange pt[] = {
	{"[236-9]", 9, 9}};
PLAN(pt, "351", "", "00", 0);

static const CdpCorePhoneRange nl[] = {
	{"[1-57]", 9, 9},
	{"6[1-8]", 9, 9},
	{"8[4-8]", 9, 9},
	{"91", 9, 9},
	{"800", 7, 10},
	{"90[069]", 7, 10}};
PLAN(nl, "31", "0", "00", 9);

static const CdpCorePhoneRange be[] = {
	{"4[5-9]", 9, 9},
	{"4[23]", 8, 8},
	{"[1-35-9]", 8, 8}};
PLAN(be, "32", "0", "00", 8);

static const CdpCorePhoneRange dk[] = {
	{"[2-9]", 8, 8}};
PLAN(dk, "45", "", "00", 0);

static const CdpCorePhoneRange no[] = {
	{"[2-9]", 8, 8}};
PLAN(no, "47", "", "00", 0);

static const CdpCorePhoneRange se[] = {
	{"7[02369]", 9, 9},
	{"[1-689]", 7, 9},
	{"77", 9, 9}};
PLAN(se, "46", "0", "00", 9);

static const CdpCorePhoneRange fi[] = {
	{"4[0-9]", 7, 10},
	{"50", 7, 10},
	{"1[03-9]", 6, 10},
	{"[235689][1-9]", 6, 9},
	{"800", 8, 9}};
PLAN(fi, "358", "0", "00", NO_BARE);

static const CdpCorePhoneRange pl[] = {
	{"[1-9]", 9, 9}};
PLAN(pl, "48", "", "00", 0);

static const CdpCorePhoneRange cz[] = {
	{"[2-9]", 9, 9}};
PLAN(cz, "420", "", "00", 0);

static const CdpCorePhoneRange sk[] = {
	{"[2-59]", 9, 9},
	{"800", 9, 9}};
PLAN(sk, "421", "0", "00", 9);

static const CdpCorePhoneRange hu[] = {
	{"1", 8, 8},
	{"[237]0", 9, 9},
	{"[235]1", 9, 9},
	{"50", 9, 9},
	{"[2-9][2-9]", 8, 8},
	{"[89]0", 8, 8}};
PLAN(hu, "36", "06", "00", 8);

static const CdpCorePhoneRange ro[] = {
	{"[237-9]", 9, 9}};
PLAN(ro, "40", "0", "00", 9);

static const CdpCorePhoneRange gr[] = {
	{"2", 10, 10},
	{"69", 10, 10},
	{"800", 10, 10}};
PLAN(gr, "30", "", "00", 0);

static const CdpCorePhoneRange ua[] = {
	{"[3-9]", 9, 9}};
PLAN(ua, "380", "0", "00", 9);

/* Russia and Kazakhstan; 6 and 7 are the latter's. */
static const CdpCorePhoneRange ru[] = {
	{"[346-9]", 10, 10}};
PLAN(ru, "7", "8", "810", 10);

/* -- Africa -- */

static const CdpCorePhoneRange za[] = {
	{"[1-9]", 9, 9}};
PLAN(za, "27", "0", "00", 9);

static const CdpCorePhoneRange eg[] = {
	{"1[0-25]", 10, 10},
	{"2", 9, 9},
	{"3", 8, 8},
	{"[4-9]", 9, 9}};
PLAN(eg, "20", "0", "00", 9);

/* -- South and Central America -- */

static const CdpCorePhoneRange br[] = {
	{"[1-9][1-9][2-5]", 10, 10},
	{"[1-9][1-9]9", 11, 11},
	{"[589]00", 10, 10}};
PLAN(br, "55", "0", "", 10);

/* 01, 044, 045 and the 1 after the country code went out of use in 2019 and are still written. */
static const CdpCorePhoneRange mx[] = {
	{"[2-9]", 10, 10}};
PLAN(mx, "52", "01 044 045 +1", "00", 10);

/* For the mobile 9 and 15 see phone.c. */
static const CdpCorePhoneRange ar[] = {
	{"11[2-9]", 10, 10},
	{"[23]", 10, 10},
	{"9[123]", 11, 11},
	{"[68]00", 10, 10}};
PLAN(ar, "54", "0", "00", 10);

static const CdpCorePhoneRange cl[] = {
	{"[2-9]", 9, 9}};
PLAN(cl, "56", "", "00", 0);

static const CdpCorePhoneRange co[] = {
	{"3", 10, 10},
	{"60", 10, 10},
	{"1800", 11, 11}};
PLAN(co, "57", "", "", 10);

static const CdpCorePhoneRange pe[] = {
	{"9", 9, 9},
	{"[14-8]", 8, 8}};
PLAN(pe, "51", "0", "00", 8);

const CdpCorePhoneRegion cdp_core_phone_regions[CDP_CORE_PHONE_REGIONS] = {
	{"AE", "United Arab Emirates", &plan_ae},
	{"AG", "Antigua and Barbuda", &plan_nanp},
	{"AI", "Anguilla", &plan_nanp},
	{"AR", "Argentina", &plan_ar},
	{"AS", "American Samoa", &plan_nanp},
	{"AT", "Austria", &plan_at},
	{"AU", "Australia", &plan_au},
	{"BB", "Barbados", &plan_nanp},
	{"BE", "Belgium", &plan_be},
	{"BM", "Bermuda", &plan_nanp},
	{"BR", "Brazil", &plan_br},
	{"BS", "Bahamas", &plan_nanp},
	{"CA", "Canada", &plan_nanp},
	{"CH", "Switzerland", &plan_ch},
	{"CL", "Chile", &plan_cl},
	{"CN", "China", &plan_cn},
	{"CO", "Colombia", &plan_co},
	{"CZ", "Czechia", &plan_cz},
	{"DE", "Germany", &plan_de},
	{"DK", "Denmark", &plan_dk},
	{"DM", "Dominica", &plan_nanp},
	{"DO", "Dominican Republic", &plan_nanp},
	{"EG", "Egypt", &plan_eg},
	{"ES", "Spain", &plan_es},
	{"FI", "Finland", &plan_fi},
	{"FR", "France", &plan_fr},
	{"GB", "United Kingdom", &plan_gb},
	{"GD", "Grenada", &plan_nanp},
	{"GG", "Guernsey", &plan_gb},
	{"GR", "Greece", &plan_gr},
	{"GU", "Guam", &plan_nanp},
	{"HK", "Hong Kong", &plan_hk},
	{"HU", "Hungary", &plan_hu},
	{"ID", "Indonesia", &plan_id},
	{"IE", "Ireland", &plan_ie},
	{"IL", "Israel", &plan_il},
	{"IM", "Isle of Man", &plan_gb},
	{"IN", "India", &plan_in},
	{"IT", "Italy", &plan_it},
	{"JE", "Jersey", &plan_gb},
	{"JM", "Jamaica", &plan_nanp},
	{"JP", "Japan", &plan_jp},
	{"KN", "Saint Kitts and Nevis", &plan_nanp},
	{"KR", "South Korea", &plan_kr},
	{"KY", "Cayman Islands", &plan_nanp},
	{"KZ", "Kazakhstan", &plan_ru},
	{"LC", "Saint Lucia", &plan_nanp},
	{"MO", "Macao", &plan_mo},
	{"MP", "Northern Mariana Islands", &plan_nanp},
	{"MS", "Montserrat", &plan_nanp},
	{"MX", "Mexico", &plan_mx},
	{"MY", "Malaysia", &plan_my},
	{"NL", "Netherlands", &plan_nl},
	{"NO", "Norway", &plan_no},
	{"NZ", "New Zealand", &plan_nz},
	{"PE", "Peru", &plan_pe},
	{"PH", "Philippines", &plan_ph},
	{"PL", "Poland", &plan_pl},
	{"PR", "Puerto Rico", &plan_nanp},
	{"PT", "Portugal", &plan_pt},
	{"RO", "Romania", &plan_ro},
	{"RU", "Russia", &plan_ru},
	{"SA", "Saudi Arabia", &plan_sa},
	{"SE", "Sweden", &plan_se},
	{"SG", "Singapore", &plan_sg},
	{"SK", "Slovakia", &plan_sk},
	{"SX", "Sint Maarten", &plan_nanp},
	{"TC", "Turks and Caicos Islands", &plan_nanp},
	{"TH", "Thailand", &plan_th},
	{"TR", "Turkey", &plan_tr},
	{"TT", "Trinidad and Tobago", &plan_nanp},
	{"TW", "Taiwan", &plan_tw},
	{"UA", "Ukraine", &plan_ua},
	{"US", "United States", &plan_nanp},
	{"VC", "Saint Vincent and the Grenadines", &plan_nanp},
	{"VG", "British Virgin Islands", &plan_nanp},
	{"VI", "United States Virgin Islands", &plan_nanp},
	{"VN", "Vietnam", &plan_vn},
	{"ZA", "South Africa", &plan_za}};

/*
 * The plan whose country code the digits begin with, or null.
 */
const CdpCorePhonePlan *
cdp_core_phone_plan_of_code(const char *digits, size_t n)
{
	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
	{
		const CdpCorePhonePlan *plan = cdp_core_phone_regions[i].plan;
		size_t len = strlen(plan->code);

		if (n >= len && memcmp(digits, plan->code, len) == 0)
			return plan;
	}
	return NULL;
}
