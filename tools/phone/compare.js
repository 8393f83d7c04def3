// Compares src/core/phone.c with libphonenumber over generated numbers; started by compare.sh.
//
//   node compare.js FILTER [NUMBERS [SEED [REGION…]]]
//
// FILTER is phone_filter; NUMBERS how many numbers a country, each written in many ways, wrong ones included. Half of
// the numbers are valid to libphonenumber. Prints one line a country:
//
//   same valid    valid to both, with the same E.164 and extension
//   same refused  valid to neither
//   plausible     valid to libphonenumber, plausible here, the same E.164
//   missed        valid to libphonenumber, unknown here
//   more          valid here, not to libphonenumber, the same E.164
//   differ        valid here; libphonenumber makes something else of it that is not valid to it either
//   wrong         valid to libphonenumber, and something else here
//   agree %       the first three, of all cases
//   lines         cases that are properly written numbers of a fixed or mobile line, in their own country
//   found %       of these, the same E.164 here
//
// and how many results join numbers that libphonenumber keeps apart. Exit status 1 if anything is wrong or joined:
// that is the one thing that must not happen. SHOW=N prints N examples a country of whatever differs.

'use strict';
const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const lib = require('google-libphonenumber');

const util = lib.PhoneNumberUtil.getInstance();
const F = lib.PhoneNumberFormat;
const T = lib.PhoneNumberType;
const [filter, numbers = '400', seedText = '1', ...only] = process.argv.slice(2);

// mulberry32: small, seeded, the same everywhere
let state = Number(seedText) >>> 0;
function random()
{
	state = (state + 0x6D2B79F5) >>> 0;
	let t = state;
	t = Math.imul(t ^ (t >>> 15), t | 1);
	t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
	return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const below = n => Math.floor(random() * n);
const pick = a => a[below(a.length)];
const digits = n => Array.from({ length: n }, () => below(10)).join('');

const regions = execFileSync(filter, ['regions'], { encoding: 'utf8' }).trim().split('\n');
const types = [T.FIXED_LINE, T.MOBILE, T.TOLL_FREE, T.VOIP, T.SHARED_COST, T.PREMIUM_RATE, T.PERSONAL_NUMBER, T.UAN];

// A number object for a national (significant) number, leading zeros kept.
function number(code, nsn)
{
	try {
		const n = util.parse('+' + code + nsn, undefined);
		return util.getNationalSignificantNumber(n) === nsn ? n : null;
	} catch (e) {
		return null;
	}
}

// Half of the numbers are valid to libphonenumber: its examples with other digits at the end, fewer and fewer kept.
function generate(region)
{
	const code = util.getCountryCodeForRegion(region);
	const examples = types.map(t => util.getExampleNumberForType(region, t)).filter(n => n && n.getCountryCode() === code);
	const nsns = examples.map(n => util.getNationalSignificantNumber(n));
	const out = new Set();

	for (let tries = 0; tries < 60 * numbers && out.size < numbers / 2; tries++) {
		const base = tries % 3 ? pick(nsns.slice(0, 2)) : pick(nsns);
		const keep = below(base.length - 1);
		const nsn = base.slice(0, keep) + digits(base.length + (below(6) ? 0 : below(5) - 2) - keep);
		const n = number(code, nsn);
		if (n && util.isValidNumber(n))
			out.add(nsn);
	}
	while (out.size < numbers) {
		const nsn = below(2) ? digits(5 + below(8)) : pick(nsns).slice(0, 1 + below(4)) + digits(3 + below(7));
		if (nsn.length >= 4 && nsn.length <= 13)
			out.add(nsn);
	}
	return [...out].map(nsn => ({ code, nsn }));
}

const codes = [...new Set(regions.map(r => String(util.getCountryCodeForRegion(r))))];
const wide = s => s.replace(/[!-~]/g, c => String.fromCharCode(c.charCodeAt(0) + 0xFEE0)).replace(/ /g, '\u3000');
const grouped = s => s.replace(/(\d{2,4})(?=\d{4,})/, '$1-').replace(/(\d)(\d{4})$/, '$1-$2');

// The ways in which one number is written; some are wrong on purpose.
function written(region, code, nsn)
{
	const n = number(code, nsn);
	const trunk = util.getNddPrefixForRegion(region, true) || '';
	const out = [
		'+' + code + ' (0)' + nsn, '+' + code + ' 0' + nsn,
		'+' + code + trunk + nsn, trunk + nsn, nsn, grouped(trunk + nsn), wide(grouped(trunk + nsn)), code + nsn, code + trunk + nsn,
		'00' + code + nsn, '00' + code + ' (0)' + nsn, '011' + code + nsn, '010' + code + nsn, '0011' + code + nsn, '001' + code + nsn,
		'810' + code + nsn, trunk + nsn.slice(0, -1), trunk + nsn + below(10), nsn.slice(1), nsn.slice(2), nsn.slice(3),
		trunk + nsn + ' ext. ' + (1 + below(999)), '+' + code + nsn + 'x' + (1 + below(99)), 'tel:+' + code + nsn + ';ext=' + below(999),
		'00' + digits(8 + below(6)), '00' + pick(codes) + digits(7 + below(5)), trunk + nsn + '#' + below(100), '0' + nsn, '1' + nsn, '8' + nsn, '9' + nsn, '15' + nsn,
	];
	const proper = ['+' + code + nsn, '+' + code + ' ' + grouped(nsn)];
	if (n) {
		proper.push(util.format(n, F.NATIONAL), util.format(n, F.INTERNATIONAL), util.format(n, F.RFC3966),
			wide(util.format(n, F.INTERNATIONAL)), wide(util.format(n, F.NATIONAL)));
		out.push(util.formatOutOfCountryCallingNumber(n, pick(regions)));
		if (region === 'AR')
			out.push('0' + nsn.replace(/^9?(11|[23]\d\d\d?)/, '$115'), nsn.replace(/^9(11|[23]\d\d)/, '$1 15 '), '+54 ' + nsn.replace(/^9?(11|[23]\d\d)/, '$1 15 '));
		if (region === 'MX')
			out.push('+52 1 ' + nsn, '044' + nsn, '045 ' + nsn, '01 ' + nsn);
	}
	return [...proper.map(text => [text, true]), ...out.map(text => [text, false])];
}

function theirs(text, region)
{
	try {
		const n = util.parse(text, region === '-' ? undefined : region);
		const ext = n.getExtension();
		return { e164: util.format(n, F.E164) + (ext ? ';ext=' + ext : ''), valid: util.isValidNumber(n),
			person: [T.FIXED_LINE, T.MOBILE, T.FIXED_LINE_OR_MOBILE, T.VOIP].includes(util.getNumberType(n)) };
	} catch (e) {
		return { e164: null, valid: false };
	}
}

const cases = [];
// Regions that share a country code share a plan here: the main one stands for all.
const main = regions.filter(r => util.getRegionCodeForCountryCode(util.getCountryCodeForRegion(r)) === r);
for (const region of only.length ? only : main)
	for (const { code, nsn } of generate(region))
		for (const [text, proper] of written(region, code, nsn)) {
			// a few are read as of another region than their own, or of none
			const own = below(8) > 0;
			cases.push([own ? region : below(3) ? pick(regions) : '-', text, region, own && proper]);
		}

const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'phone.')), 'in');
fs.writeFileSync(file, cases.map(([region, text]) => region + '\t' + text).join('\n') + '\n');
const answers = execFileSync(filter, [], { input: fs.readFileSync(file), maxBuffer: 1 << 30, encoding: 'utf8' }).split('\n');
fs.rmSync(path.dirname(file), { recursive: true });

const stats = {};
const groups = new Map();
const shown = {};
function show(kind, region, line)
{
	const list = (shown[kind] ??= {})[region] ??= [];
	list.push(line);
}

cases.forEach(([region, text, home, proper], i) => {
	const [verdict, ours] = answers[i].split('\t');
	const t = theirs(text, region);
	const s = stats[home] ??= { cases: 0, both: 0, neither: 0, missed: 0, plausible: 0, more: 0, wrong: 0, differ: 0,
		proper: 0, found: 0 };
	const line = `${region} ${JSON.stringify(text)}: ours ${verdict} ${ours}, libphonenumber ${t.valid ? 'valid' : 'not valid'} ${t.e164}`;

	s.cases++;
	if (proper && t.valid && t.person) {
		s.proper++;
		if (ours === t.e164)
			s.found++;
	}
	if (verdict !== 'unknown' && t.valid && ours !== t.e164) {
		s.wrong++;
		show('wrong', home, line);
	} else if (verdict === 'valid' && t.valid)
		s.both++;
	else if (verdict === 'plausible' && t.valid)
		s.plausible++;
	else if (t.valid) {
		s.missed++;
		show('missed', home, line);
	} else if (verdict === 'valid') {
		s.more++;
		if (ours !== t.e164) {
			s.differ++;
			show('differ', home, line);
		} else
			show('more', home, line);
	} else
		s.neither++;

	if (verdict !== 'unknown' && t.e164) {
		const g = groups.get(ours) ?? new Map();
		if (!g.has(t.e164))
			g.set(t.e164, { valid: t.valid, line });
		groups.set(ours, g);
	}
});

const pad = (x, n) => String(x).padStart(n);
const percent = (a, b) => b ? (100 * a / b).toFixed(2) : '-';
console.log('region   cases   same valid  same refused  plausible  missed   more  differ  wrong  agree %    lines  found %');
const sum = {};
for (const [region, s] of [...Object.entries(stats), ['all', sum]]) {
	if (region !== 'all')
		for (const k of Object.keys(s))
			sum[k] = (sum[k] ?? 0) + s[k];
	console.log(region.padEnd(6), pad(s.cases, 7), pad(s.both, 12), pad(s.neither, 13), pad(s.plausible, 10), pad(s.missed, 7),
		pad(s.more, 6), pad(s.differ, 7), pad(s.wrong, 6), pad(percent(s.both + s.neither + s.plausible, s.cases), 8),
		pad(s.proper, 8), pad(percent(s.found, s.proper), 8));
}

// False merges: one result of ours for what libphonenumber keeps apart.
let merges = 0, loose = 0;
for (const [ours, g] of groups) {
	const valid = [...g.values()].filter(x => x.valid);
	if (valid.length > 1) {
		merges++;
		show('merged', 'all', valid.map(x => x.line).join(' | '));
	} else if (g.size > 1) {
		loose++;
		show('folded', 'all', `${ours}: ` + [...g.values()].map(x => x.line).join(' | '));
	}
}
console.log(`${groups.size} results; ${merges} of them join numbers that are valid and different to libphonenumber; ` +
	`${loose} join a number with one that is not valid to it`);
const most = Number(process.env.SHOW ?? 0);
for (const kind of Object.keys(shown))
	for (const region of Object.keys(shown[kind]))
		for (const line of shown[kind][region].slice(0, most))
			console.log(`${kind}: ${line}`);
process.exitCode = sum.wrong || merges ? 1 : 0;
