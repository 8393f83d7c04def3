// node-pg: parameters without types, objects as JSON, arrays as array literals, Date as text, bigint as string.
'use strict';
const assert = require('assert').strict;
const { Client } = require('pg');

const body = {
	batch: [
		{ type: 'identify', messageId: 'node-i1', userId: 'node-7', timestamp: '2026-02-03T04:05:06.789Z', traits: { email: 'Grace@Node.example', city: 'Kyoto' } },
		{ type: 'track', messageId: 'node-t1', userId: 'node-7', event: 'Order Completed', timestamp: '2026-02-03T04:06:00Z', properties: { total: 12.5, items: ["it's", 'a "b"'] } },
		{ type: 'track', messageId: 'node-t1', userId: 'node-7', event: 'Order Completed', timestamp: '2026-02-03T04:06:00Z', properties: { total: 12.5, items: ["it's", 'a "b"'] } },
		{ type: 'track', messageId: 'node-t2', userId: 'node-7' },
	],
};

async function main() {
	const client = new Client();
	await client.connect();
	const value = async (text, values) => Object.values((await client.query(text, values)).rows[0])[0];
	const failure = async (text, values) => client.query(text, values).then(() => null, (e) => e);
	let id;

	const tests = {
		'track(text) returns the id, as a string': async () => {
			id = await value('SELECT cdp.track($1, $2)', ['email:ada@node.example', 'Signed Up']);
			assert.match(id, /^[1-9][0-9]*$/);
			await client.query('SELECT cdp.set_consent($1, $2, $3)', ['email:ada@node.example', 'service', 'granted']);
		},
		'track with an object for properties': async () => {
			assert.equal(await value('SELECT cdp.track($1, $2, $3, message_id => $4)',
				['email:ada@node.example', 'Product Viewed', { sku: 'a-1', tags: ['x', 'ü"\\'], price: 3 }, 'node-m1']), id);
			assert.deepEqual(await value('SELECT properties FROM cdp.events WHERE message_id = $1', ['node-m1']),
				{ sku: 'a-1', tags: ['x', 'ü"\\'], price: 3 });
		},
		'who as an array, without a type and with one': async () => {
			const who = ['email:ada@node.example', 'cookie:a,b"c\\d {e}'];
			assert.equal(await value('SELECT cdp.identify($1)', [who]), id);
			assert.equal(await value('SELECT cdp.track($1::text[], $2)', [who, 'Seen']), id);
			assert.equal(await value('SELECT cdp.resolve($1)', ['cookie:a,b"c\\d {e}']), id);
		},
		'who as a profile id: string, number, BigInt': async () => {
			for (const who of [id, Number(id), BigInt(id)])
				assert.equal(await value('SELECT cdp.track($1::bigint, $2)', [who, 'Seen']), id);
		},
		'identify with an object and with a string': async () => {
			assert.equal(await value('SELECT cdp.identify($1, $2)', ['email:ada@node.example', { city: 'Paris', points: 12, member_since: '2026-02-28' }]), id);
			assert.equal(await value('SELECT cdp.identify($1, $2)', ['email:ada@node.example', '{"nick": "ada"}']), id);
		},
		'times as Date and as ISO text': async () => {
			const at = new Date('2026-03-01T23:30:00.123Z');
			await client.query('SELECT cdp.track($1, $2, at => $3, message_id => $4)', ['email:ada@node.example', 'Clicked', at, 'node-d1']);
			await client.query('SELECT cdp.track($1, $2, at => $3, message_id => $4)', ['email:ada@node.example', 'Clicked', '2026-03-02T08:30:00.123+09:00', 'node-d2']);
			const rows = (await client.query("SELECT ts FROM cdp.events WHERE message_id IN ('node-d1', 'node-d2')")).rows;
			assert.deepEqual(rows.map((r) => r.ts), [at, at]);
		},
		'a message id seen before changes nothing': async () => {
			const call = ['email:ada@node.example', 'Clicked', new Date('2026-03-01T23:30:00.123Z'), 'node-d1'];
			assert.equal(await value('SELECT cdp.track($1, $2, at => $3, message_id => $4)', call), id);
			assert.equal(await value('SELECT count(*)::int FROM cdp.events WHERE message_id = $1', ['node-d1']), 1);
		},
		'null and undefined stand for the defaults': async () => {
			assert.equal(await value('SELECT cdp.track($1, $2, $3, $4, $5)', ['email:ada@node.example', 'Nothing', null, undefined, null]), id);
			assert.equal(await value('SELECT cdp.identify($1, $2, $3)', ['email:ada@node.example', null, null]), id);
		},
		'named notation in any order': async () => {
			assert.equal(await value('SELECT cdp.track(event => $2, who => $1, source => $3, properties => $4)',
				['email:ada@node.example', 'Named', 'web', { a: 1 }]), id);
		},
		'a prepared statement, used again for other people': async () => {
			const name = 'track-it', text = 'SELECT cdp.track($1, $2, $3) AS id', ids = new Set();
			for (let i = 0; i < 12; i++)
				ids.add((await client.query({ name, text, values: [`email:p${i % 6}@node.example`, 'Seen', { i }] })).rows[0].id);
			assert.equal(ids.size, 6);
		},
		'ingest of a body: accepted, duplicate, rejected, in order': async () => {
			for (const payload of [body, JSON.stringify(body)]) {
				const rows = (await client.query('SELECT * FROM cdp.ingest($1, $2)', [payload, 'node'])).rows;
				const first = payload === body ? 'accepted' : 'duplicate';
				assert.deepEqual(rows.map((r) => [r.message_id, r.status]),
					[['node-i1', first], ['node-t1', first], ['node-t1', 'duplicate'], ['node-t2', 'rejected']]);
				assert.equal(rows[0].profile_id, rows[1].profile_id);
				assert.equal(rows[3].profile_id, null);
			}
		},
		'ingest of a top-level array needs JSON text': async () => {
			const rows = (await client.query('SELECT * FROM cdp.ingest($1)', [JSON.stringify([{ type: 'track', messageId: 'node-a1', userId: 'node-8', event: 'X' }])])).rows;
			assert.deepEqual(rows.map((r) => r.status), ['accepted']);
		},
		'cdp.profiles with the usual types': async () => {
			const p = (await client.query('SELECT * FROM cdp.profiles WHERE profile_id = $1', [id])).rows[0];
			assert.equal(p.city, 'Paris');
			assert.equal(p.points, 12);
			// A date is a Date, midnight here, to pg-types 2, and text to pg-types 4.
			assert.equal(p.member_since instanceof Date ? +p.member_since : p.member_since,
				p.member_since instanceof Date ? +new Date(2026, 1, 28) : '2026-02-28');
			assert.deepEqual(p.traits, { nick: 'ada' });
			assert.deepEqual(p.identifiers, { cookie: ['a,b"c\\d {e}'], email: ['ada@node.example'] });
			assert.deepEqual(p.segments, ['collectors']);
			assert.ok(p.first_seen instanceof Date && p.last_seen >= p.first_seen);
			assert.match(p.events, /^[0-9]+$/);
		},
		'people without consent are not there': async () => {
			assert.equal(await value('SELECT count(*)::int FROM cdp.events WHERE message_id = $1', ['node-t1']), 0);
			assert.equal(await value('SELECT cdp.resolve($1)', ['user_id:node-7']), null);
		},
		'errors carry SQLSTATE and hint, and the connection lives on': async () => {
			let e = await failure('SELECT cdp.track($1, $2)', ['no namespace', 'X']);
			assert.equal(e.code, '22P02');
			assert.match(e.hint, /namespace:value/);
			assert.ok(!/no namespace/.test(e.message), 'no personal data in the message');
			e = await failure('SELECT cdp.track($1, $2)', [null, 'X']);
			assert.equal(e.code, '22004');
			e = await failure('SELECT cdp.track($1, $2)', ['email:ada@node.example', null]);
			assert.equal(e.code, '22004');
			e = await failure('SELECT cdp.track($1, $2, $3)', ['email:ada@node.example', 'X', '[1]']);
			assert.equal(e.code, '22023');
			e = await failure('SELECT cdp.set_consent($1, $2, $3)', ['email:ada@node.example', 'service', 'maybe']);
			assert.equal(e.code, '22023');
			assert.match(e.hint, /granted/);
			e = await failure('SELECT cdp.define_purpose($1)', ['mine']);
			assert.equal(e.code, '42501');
			e = await failure('SELECT * FROM cdp_data.profile');
			assert.equal(e.code, '42501');
			assert.equal(await value('SELECT cdp.resolve($1)', ['email:ada@node.example']), id);
		},
		'a transaction rolled back leaves nothing': async () => {
			await client.query('BEGIN');
			await client.query('SELECT cdp.track($1, $2, message_id => $3)', ['email:ada@node.example', 'Gone', 'node-r1']);
			await client.query('ROLLBACK');
			assert.equal(await value('SELECT count(*)::int FROM cdp.events WHERE message_id = $1', ['node-r1']), 0);
		},
	};

	for (const [name, test] of Object.entries(tests)) {
		try {
			await test();
			console.log(`ok - ${name}`);
		} catch (e) {
			console.log(`not ok - ${name}`);
			for (const line of String(e.stack).split('\n').slice(0, 25)) console.log(`  ${line}`);
		}
	}
	await client.end();
	console.log('done');
}

main().catch((e) => { console.log(e.stack); process.exit(1); });
