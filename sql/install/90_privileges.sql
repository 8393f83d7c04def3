-- 90_privileges.sql: every grant of the extension, one page.
--
-- Nothing is anybody's by default.  What computes only from its arguments
-- (immutable functions: types, operators, aggregates) and the policies' tests
-- are everybody's; all else is granted by cdp.provision() and cdp.permit().

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA cdp FROM PUBLIC;
REVOKE ALL ON ALL PROCEDURES IN SCHEMA cdp FROM PUBLIC;
GRANT USAGE ON SCHEMA cdp TO PUBLIC;
DO $$
DECLARE
	f record;
BEGIN
	FOR f IN SELECT p.oid::pg_catalog.regprocedure AS sig FROM pg_catalog.pg_proc p
			 WHERE p.pronamespace = 'cdp'::pg_catalog.regnamespace AND p.provolatile = 'i' LOOP
		EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO PUBLIC', f.sig);
	END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION cdp.allowed(int), cdp.allowed_node(bigint), cdp.has_kind(text), cdp.version() TO PUBLIC;
-- these decide about consent themselves
GRANT EXECUTE ON FUNCTION cdp.metric_bigint(bigint, int), cdp.metric_float8(bigint, int), cdp.metric_text(bigint, int),
	cdp.metric_timestamptz(bigint, int), cdp.metric_text_array(bigint, int), cdp.metric_value(bigint, text),
	cdp.is_due(bigint), cdp.present_segments(bigint, int[]), cdp.fired_members(),
	cdp.fired_exits(), cdp.pending_timers(),
	cdp.affinity_scores(bigint, int), cdp.affinity_of(bigint, text, text), cdp.explain_affinity(bigint, text),
	cdp.in_segments(int, text), cdp.member_ords(text), cdp.segments_of(int, bigint, int[]),
	cdp.person_sessions(bigint), cdp.session_due(bigint, interval), cdp.sequence_boolean(bigint, int),
	cdp.sequence_bigint(bigint, int), cdp.sequence_text_array(bigint, int), cdp.sequence_due(bigint, int) TO PUBLIC;
-- these read the clock
GRANT EXECUTE ON FUNCTION cdp.clock(), cdp.within(timestamptz, interval), cdp.affinity_score(cdp.affinity, text) TO PUBLIC;
-- computes only from its arguments, and is run as the owner of an attached table
GRANT EXECUTE ON FUNCTION cdp.row_message(jsonb, "any") TO PUBLIC;
-- these run a query of the caller as the caller
GRANT EXECUTE ON FUNCTION cdp.connected_components(text, bool), cdp.connected_components(text, anyelement, bool) TO PUBLIC;
