-- 30_segment.sql: which people.  Rules and their members.

CREATE FUNCTION cdp.install_segment() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- segment_id stays; set_id is the set of its members, by which the tables
	-- of members, chunks and steps know them: its own, or that of the last
	-- definition that was built beside it.  Both are numbers of one sequence.
	CREATE TABLE cdp_data.segment (
		segment_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		set_id		int NOT NULL UNIQUE,
		name		text COLLATE "C" NOT NULL UNIQUE,
		definition	text NOT NULL,
		-- One of them: the predicate in canonical form, a condition, or a list
		-- of identifiers.
		predicate	text,
		rule		jsonb,
		list_id		int,
		description	text,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		-- Of the rule: columns (or fields) it names, segments it needs, whether
		-- time alone may change its answer.
		columns		text[] NOT NULL,
		uses		int[] NOT NULL,
		timed		boolean NOT NULL,
		state		text COLLATE "C" NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled', 'building')),
		version		int NOT NULL DEFAULT 1,
		changed_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		-- since when that set answers, if it was built beside: what members
		-- with since 'infinity' are in since
		live_from	timestamptz NOT NULL DEFAULT '-infinity',
		shown		boolean NOT NULL DEFAULT false,	-- as a column of cdp.profiles
		CHECK (num_nonnulls(predicate, rule, list_id) = 1)
	);

	-- Definitions whose members are being found, beside those in force.
	CREATE TABLE cdp_data.segment_build (
		segment_id	int PRIMARY KEY,
		set_id		int NOT NULL UNIQUE,
		task_id		int NOT NULL,
		-- replaces the definition in force, which is else evaluated anew
		fresh		boolean NOT NULL,
		definition	text NOT NULL,
		predicate	text,
		rule		jsonb,
		list_id		int,
		description	text,
		columns		text[] NOT NULL,
		uses		int[] NOT NULL,
		timed		boolean NOT NULL
	);

	-- Definitions that were replaced.
	CREATE TABLE cdp_data.segment_version (
		segment_id	int NOT NULL,
		version		int NOT NULL,
		definition	text NOT NULL,
		rule		jsonb,
		valid_from	timestamptz NOT NULL,
		valid_to	timestamptz NOT NULL,
		PRIMARY KEY (segment_id, version)
	);

	-- Apart from the definition, so that recording an error does not make
	-- every session read its configuration anew.
	CREATE TABLE cdp_data.segment_error (
		segment_id	int PRIMARY KEY,
		last_error	text NOT NULL,
		at			timestamptz NOT NULL
	);

	CREATE TABLE cdp_data.segment_member (
		segment_id	int NOT NULL,
		ord			int NOT NULL,
		profile_id	bigint NOT NULL,
		since		timestamptz NOT NULL,
		cause		text COLLATE "C",
		PRIMARY KEY (segment_id, ord)
	);
	CREATE INDEX segment_member_profile ON cdp_data.segment_member (profile_id);

	-- The membership index: a bitmap of 15,872 ords of a segment a row, never
	-- toasted, three and room for a new version of one in a page; segment 0 is
	-- everybody.
	CREATE TABLE cdp_data.segment_chunk (
		segment_id	int NOT NULL,
		chunk_no	int NOT NULL,
		payload		bytea NOT NULL,
		PRIMARY KEY (segment_id, chunk_no)
	) WITH (fillfactor = 75);
	ALTER TABLE cdp_data.segment_chunk ALTER COLUMN payload SET STORAGE PLAIN;

	-- Who entered (+1) and who left (-1) since a chunk was folded.
	CREATE TABLE cdp_data.segment_delta (
		segment_id	int NOT NULL,
		chunk_no	int NOT NULL,
		position	smallint NOT NULL,
		step		smallint NOT NULL
	) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
	CREATE INDEX segment_delta_chunk ON cdp_data.segment_delta (segment_id, chunk_no);

	-- Who was in a segment and is not any more; of people as they were then.
	CREATE TABLE cdp_data.segment_history (
		segment_id	int NOT NULL,
		ord			int NOT NULL,
		profile_id	bigint NOT NULL,
		entered_at	timestamptz NOT NULL,
		left_at		timestamptz NOT NULL,
		cause		text COLLATE "C" NOT NULL
	);
	CREATE INDEX segment_history_segment ON cdp_data.segment_history (segment_id, left_at);
	CREATE INDEX segment_history_profile ON cdp_data.segment_history (profile_id);

	-- When a person's rules are to be asked again though nothing happened.
	CREATE TABLE cdp_data.timer (
		profile_id	bigint PRIMARY KEY,
		ord			int NOT NULL,
		due			timestamptz NOT NULL
	);
	CREATE INDEX timer_due ON cdp_data.timer (due);

	-- What two people were in when they were merged; kept until they part.
	CREATE TABLE cdp_data.segment_before (
		loser		bigint NOT NULL,
		profile_id	bigint NOT NULL,
		segment_id	int NOT NULL,
		since		timestamptz NOT NULL,
		PRIMARY KEY (loser, profile_id, segment_id)
	);
END $$;
COMMENT ON FUNCTION cdp.install_segment() IS 'Step of cdp.init(): tables of segments and their members.';

CREATE FUNCTION cdp.check_predicate(predicate text) RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_check_predicate';
COMMENT ON FUNCTION cdp.check_predicate(text) IS
'The predicate in its canonical, fully qualified form; raises with the offending part if it may not define a segment.';

CREATE FUNCTION cdp.within(ts timestamptz, period interval) RETURNS boolean
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_within';
COMMENT ON FUNCTION cdp.within(timestamptz, interval) IS
'Does a time lie within the last period (months and days of the calendar in UTC)? In the rule of a segment members enter and leave by it on time.';

CREATE FUNCTION cdp.in_segment(name text) RETURNS boolean
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_in_segment';
COMMENT ON FUNCTION cdp.in_segment(text) IS
'In the predicate of a segment: is the person in that other segment? It has no meaning elsewhere.';

CREATE FUNCTION cdp.rule_needs(predicate text, rule jsonb, OUT columns text[], OUT segments text[], OUT timed boolean) RETURNS record
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_rule_needs_sql';
COMMENT ON FUNCTION cdp.rule_needs(text, jsonb) IS
'What a rule looks at: columns or fields, other segments, the clock; raises if it may not define a segment. Part of cdp.define_segment().';

CREATE FUNCTION cdp.build_segment(segment_id int) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_build_segment';
COMMENT ON FUNCTION cdp.build_segment(int) IS
'Evaluates a segment, and those that need it, for every profile and returns the number of members; part of cdp.define_segment().';

-- What readers see of timers that are due: the views use these, and they decide
-- about consent themselves.
CREATE FUNCTION cdp.is_due(profile_id bigint) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 5 AS 'MODULE_PATHNAME', 'cdp_is_due';
COMMENT ON FUNCTION cdp.is_due(bigint) IS
'Has the passing of time changed what is stored of the person''s segments? Part of the views.';
CREATE FUNCTION cdp.present_segments(profile_id bigint, stored int[]) RETURNS int[]
LANGUAGE c STABLE PARALLEL RESTRICTED COST 10 AS 'MODULE_PATHNAME', 'cdp_present_segments';
COMMENT ON FUNCTION cdp.present_segments(bigint, int[]) IS
'The person''s segments now: as stored, or as the passing of time has made them since. Part of the views.';
CREATE FUNCTION cdp.fired_members(OUT segment_id int, OUT ord int, OUT profile_id bigint, OUT since timestamptz) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT ROWS 10 COST 100 AS 'MODULE_PATHNAME', 'cdp_fired_members';
COMMENT ON FUNCTION cdp.fired_members() IS
'The segments of people whose timers are due, as of now; of those whom the caller may see. Part of the views.';

CREATE FUNCTION cdp.fired_exits(OUT segment_id int, OUT ord int, OUT profile_id bigint, OUT entered_at timestamptz, OUT left_at timestamptz) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT ROWS 10 COST 100 AS 'MODULE_PATHNAME', 'cdp_fired_exits';
COMMENT ON FUNCTION cdp.fired_exits() IS
'The segments that people whose timers are due have left since; of those whom the caller may see. Part of the views.';
CREATE FUNCTION cdp.pending_timers() RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 100 AS 'MODULE_PATHNAME', 'cdp_pending_timers';
COMMENT ON FUNCTION cdp.pending_timers() IS
'Number of people, of those whom the caller may see, whose segments time has changed and cdp.maintain() has not stored yet. Part of cdp.segments.';
CREATE FUNCTION cdp.clock() RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_clock';
COMMENT ON FUNCTION cdp.clock() IS
'The present as cdp takes it: the start of the statement, or the setting cdp.clock of tests.';
