# L8: dump and restore in one transaction gives equal views, keeps what users
# added to the tables, and ingest goes on where it was.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../test/perl";
use CdpTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('dump');
my $dir = $node->basedir;

configure($node, 'postgres');
$node->safe_psql('postgres', q{
	CREATE ROLE analyst;
	CREATE ROLE boss;
	SELECT cdp.permit('analyst', 'analytics');
	SELECT cdp.permit('boss', 'analytics');
	CREATE SCHEMA shop;
	CREATE TABLE shop."Order" (id int PRIMARY KEY, customer text, email text, total float8, placed timestamptz);
	INSERT INTO shop."Order" SELECT i, 'u' || i % 20, NULL, i * 1.5, timestamptz '2024-03-01 00:00Z' + i * interval '1 hour' FROM generate_series(1, 50) i;
	SELECT cdp.attach('shop."Order"', '{"event": "Order Completed", "identifiers": {"user_id": "customer", "email": "email"}, "time": "placed", "properties": ["total"]}', backfill => true);
	CALL cdp.maintain(10);
	INSERT INTO shop."Order" SELECT i, 'u' || i % 20, 'e' || i % 20 || '@example.com', 0.1, timestamptz '2024-04-01 00:00Z' FROM generate_series(51, 60) i;
	SELECT count(cdp.identify(ARRAY['user_id:u' || i, 'anonymous_id:a' || i], jsonb_build_object('city', CASE WHEN i % 3 = 0 THEN 'Kyoto' ELSE E'Na"ra\t\\\\' END,
		'age', i, 'first_store', 'Gion', 'pets', jsonb_build_array('cat', i), 'odd "name"', 'x'), timestamptz '2024-01-01 00:00Z' + i * interval '1 day', 'm' || i))
	FROM generate_series(1, 40) i;
	SELECT count(cdp.identify(ARRAY['user_id:u' || i, 'user_id:u' || i + 5], '{}', '2024-02-01 00:00Z', 'merge' || i)) FROM generate_series(21, 25) i;
	SELECT count(cdp.set_consent('user_id:u' || i, 'analytics', CASE WHEN i % 4 = 0 THEN 'objected' ELSE 'granted' END, '2024-01-01 00:00Z',
		CASE WHEN i % 5 = 0 THEN timestamptz '2199-01-01 00:00Z' END, message_id => 'c' || i)) FROM generate_series(1, 30) i;
	SELECT count(cdp.set_consent('user_id:u' || i, 'marketing', 'granted', '2024-01-01 00:00Z', message_id => 'd' || i)) FROM generate_series(1, 30) i;
	SELECT count(cdp.track('email:e' || i || '@example.com', 'Viewed', '{"sku": "s1", "note": "tab\t nl\n \\\\ \u00e9"}', '2011-11-11 00:00Z')) FROM generate_series(1, 5) i;
	SELECT count(*) FROM cdp.ingest('[{"type": "guess", "messageId": "bad"}, {"type": "identify", "userId": "u1", "messageId": "x1", "timestamp": "soon"}]');
	SELECT count(*) FROM cdp.claim('email', 2);
	-- the membership index: chunks, and steps that wait; members who leave by time, and who left
	CREATE FUNCTION shop.fold() RETURNS int LANGUAGE c AS '$libdir/cdp', 'cdp_fold_chunks';
	SELECT cdp.define_segment('recent', predicate => 'cdp.within(last_seen, ''60 days'')'), cdp.define_segment('young', predicate => 'age < 12'),
		cdp.define_segment('both', predicate => 'age < 30 AND cdp.within(last_seen, ''50 days'')');
	SELECT shop.fold();
	SELECT cdp.define_segment('young', predicate => 'age < 15'), cdp.disable_segment('both'), cdp.enable_segment('both');
	SELECT count(cdp.identify('user_id:u' || i, jsonb_build_object('age', 40 - i), now() - i * interval '1 day', 'age' || i)) FROM generate_series(1, 40, 3) i;
	-- what people like: items described, described again, and wanted; events whose weight came later
	SELECT cdp.define_dimension('category', hierarchy_factor => 0.5, half_life => '30 years'), cdp.define_dimension('brand', half_life => '20 years', profile_column => 'brands', top => 3);
	SELECT count(cdp.set_item('i' || i, jsonb_build_object('brand', 'B' || i % 3, 'category', 'C' || i % 2 || ' > D' || i))) FROM generate_series(1, 6) i;
	SELECT count(cdp.track('user_id:u' || i, e, jsonb_build_object('product_id', 'i' || i % 9), timestamptz '2024-01-05 00:00Z' + i * interval '1 hour', e || i))
	FROM generate_series(1, 20) i, unnest('{Product Viewed,Order Completed,Page Read,Product Removed}'::text[]) e;
	SELECT cdp.set_item('i1', '{"brand": "New", "category": "E"}'), cdp.define_action('Page Read', 0.3);
	SELECT count(cdp.track('user_id:u' || i, 'Product Viewed', '{"product_id": "i1"}', '2024-01-06 00:00Z', 'again' || i)) FROM generate_series(1, 20) i;
	SELECT count(cdp.state_preference('user_id:u' || i, 'brand', 'B2', -0.7, '2024-01-07 00:00Z', 'says' || i)) FROM generate_series(1, 20, 4) i;
	CALL cdp.maintain();
	-- what users add
	ALTER TABLE cdp_data.profile ADD COLUMN note text;
	UPDATE cdp_data.profile SET note = 'kept ' || profile_id;
	CREATE INDEX event_sku ON cdp_data.event ((properties->>'sku'));
	CREATE POLICY boss_sees_all ON cdp_data.profile FOR SELECT TO boss USING (true);
	CREATE VIEW shop.kyoto AS SELECT profile_id, age FROM cdp.profiles WHERE city = 'Kyoto';
});
is(verdict($node), 'as recomputed', 'the original is consistent');
is($node->safe_psql('postgres', 'SELECT count(*) > 10 FROM cdp.merged_profiles') eq 't'
		|| $node->safe_psql('postgres', 'SELECT count(*) >= 5 FROM cdp.merged_profiles'), 't', 'people were merged');
my %original = map { $_ => read_views($node, 'postgres', $_) } qw(postgres analyst boss);
cmp_ok(scalar(keys %{ $original{analyst} }), '>=', 9, 'the analyst reads views');
cmp_ok(length($original{analyst}{profiles}), '>', 100, 'the analyst sees people');
cmp_ok(length($original{analyst}{profiles}), '<', length($original{postgres}{profiles}), 'but not all');
for my $what (qw(affinities affinity_of explain_affinity))
{
	cmp_ok(length($original{analyst}{$what}), '>', 500, "the analyst reads $what");
	cmp_ok(length($original{analyst}{$what}), '<', length($original{postgres}{$what}), 'of some');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cdp_data.item_past; SELECT count(*) FROM (SELECT DISTINCT item_id FROM cdp_data.item_wanted) w}),
	"1\n3", 'items were otherwise, or are wanted');
my $extras = q{
	SELECT count(*), count(note), min(note) FROM cdp_data.profile;
	SELECT pg_get_indexdef('cdp_data.event_sku'::regclass);
	SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY polrelid::regclass::text, polname;
	SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner), c.relacl, c.relnamespace::regnamespace FROM pg_class c
		WHERE c.relnamespace IN ('cdp_data'::regnamespace, 'cdp'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY c.relname, c.relnamespace::regnamespace::text;
	SELECT a.attrelid::regclass::text, a.attname, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'cdp_data'::regnamespace AND a.attacl IS NOT NULL ORDER BY 1, 2;
	SELECT p.oid::regprocedure::text, pg_get_userbyid(p.proowner), array_sort.acl FROM pg_proc p,
		LATERAL (SELECT array_agg(x::text ORDER BY x::text) AS acl FROM unnest(p.proacl) x) array_sort
		WHERE p.pronamespace = 'cdp'::regnamespace ORDER BY 1;
	SELECT c.relname, obj_description(c.oid) FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' ORDER BY 1;
	SELECT * FROM shop.kyoto ORDER BY 1;
	SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'cdp_data' ORDER BY 1;
	SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
	SELECT * FROM cdp.version();
};
my $index = q{
	SELECT * FROM cdp_data.segment_chunk ORDER BY 1, 2;
	SELECT * FROM cdp_data.segment_delta ORDER BY 1, 2, 3, 4;
	SELECT * FROM cdp_data.segment_member ORDER BY 1, 2;
	SELECT * FROM cdp_data.segment_history ORDER BY 1, 2, 4, 5;
	SELECT * FROM cdp_data.segment_before ORDER BY 1, 2, 3;
	SELECT * FROM cdp_data.segment_version ORDER BY 1, 2;
	SELECT * FROM cdp_data.timer ORDER BY 1;
	SELECT set_config('cdp.clock', (SELECT (max(due) - interval '20 days')::text FROM cdp_data.timer), false);
	SELECT e, cdp.segment_count(e), (SELECT cdp.audience_agg(m) FROM cdp.members(e) m) FROM unnest('{recent,both,young & !recent,!(kyoto | young)}'::text[]) e;
	SELECT name, members, pending, version, state FROM cdp.segments ORDER BY 1;
	SELECT * FROM cdp.overlap('young') ORDER BY 1;
};
my $index_before = $node->safe_psql('postgres', $index);
like($index_before, qr/^0\|0\|\\x/m, 'there are chunks');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cdp_data.segment_delta'), '>', 3, 'and steps that wait');
my $extras_before = $node->safe_psql('postgres', $extras);

command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$dir/plain.sql" ], 'pg_dump, plain');
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '-f', "$dir/custom.dump" ], 'pg_dump, custom');
$node->safe_psql('postgres', "CREATE DATABASE plain TEMPLATE template0");
$node->safe_psql('postgres', "CREATE DATABASE custom TEMPLATE template0");
command_ok([ 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plain'), '-f', "$dir/plain.sql" ],
	'psql -1 restores it');
command_ok([ 'pg_restore', '-1', '-d', $node->connstr('custom'), "$dir/custom.dump" ], 'pg_restore -1 restores it');

for my $database (qw(plain custom))
{
	for my $role (qw(postgres analyst boss))
	{
		my $copy = read_views($node, $database, $role);

		is(join(' ', sort keys %$copy), join(' ', sort keys %{ $original{$role} }), "$database: $role reads the same views");
		is($copy->{$_}, $original{$role}{$_}, "$database: $role sees the same in cdp.$_") for sort keys %$copy;
	}
	is($node->safe_psql($database, $extras), $extras_before, "$database: additions, policies, rights, sequences and triggers are there");
	is(verdict($node, $database), 'as recomputed', "$database: consistent");
	is($node->safe_psql($database, $index), $index_before, "$database: the membership index is the same, and answers so");
	is($node->safe_psql($database, 'SELECT * FROM cdp.verify()'), '', "$database: verify() finds nothing");

	# and life goes on
	my $known = $node->safe_psql('postgres', "SELECT cdp.resolve('anonymous_id:a7')");
	is($node->safe_psql($database, "SELECT cdp.track('anonymous_id:a7', 'Viewed')"), $known, "$database: a known person is still known");
	is($node->safe_psql($database, "SELECT cdp.track('user_id:brand new', 'Viewed') > (SELECT max(profile_id) FROM cdp.events WHERE message_id LIKE 'm%')"),
		't', "$database: a new person gets a new id");
	is($node->safe_psql($database, q(SELECT status FROM cdp.ingest('{"type": "track", "event": "x", "userId": "u1", "messageId": "m1"}'))),
		'duplicate', "$database: a message seen before is a duplicate");
	is($node->safe_psql($database, q{INSERT INTO shop."Order" VALUES (99, 'u3', NULL, 7, '2024-05-01 00:00Z');
		SELECT properties->>'total', profile_id = cdp.resolve('user_id:u3') FROM cdp.events WHERE ts = '2024-05-01 00:00Z'}),
		'7|t', "$database: the attached table still makes events");
	is($node->safe_psql($database, q{SELECT count(*) FROM cdp.identify('user_id:u1', '{"city": "Kyoto"}'); SELECT 'kyoto' = ANY (segments) FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1')}),
		"1\nt", "$database: segments follow");
	is($node->safe_psql($database, q{SELECT cdp.set_item('i8', '{"brand": "Late"}'); CALL cdp.maintain(); SELECT count(*) > 0, bool_and(state = 'ready') FROM cdp.affinities a, cdp.dimensions d WHERE a.value = 'Late'}),
		"t\nt|t", "$database: an item that was wanted is credited when it is described");
	is($node->safe_psql($database, q{SELECT count(*) FILTER (WHERE detail NOT LIKE '%already there%' AND detail NOT LIKE '0 %') FROM cdp.init()}), '0', "$database: init() finds everything there");
	$node->safe_psql($database, q{SELECT count(*) FROM cdp.define_trait('later'); CALL cdp.maintain(5)});
	is($node->safe_psql($database, q{SELECT shop.fold() > 0; SELECT count(*) FROM cdp_data.segment_delta}), "t\n0", "$database: steps are folded");
	is($node->safe_psql($database, 'SELECT * FROM cdp.verify()'), '', "$database: and verify() finds nothing");
	is(verdict($node, $database), 'as recomputed', "$database: consistent after more");
}
$node->stop;
done_testing();
