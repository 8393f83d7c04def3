-- 53_inbox.sql: what is written to like a table.  cdp.inbox, the view of profiles, refusals again.

CREATE FUNCTION cdp.take_inbox() RETURNS trigger
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdp_inbox';
COMMENT ON FUNCTION cdp.take_inbox() IS 'Triggers of cdp.inbox: takes the rows that a statement writes, by thousands, and stores none.';

CREATE FUNCTION cdp.update_profile() RETURNS trigger
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdp_update_profile';
COMMENT ON FUNCTION cdp.update_profile() IS 'Trigger of cdp.profiles: makes an UPDATE of traits a message about the person.';

-- Part of the step of views: made as their owner.  A view of nothing: what is
-- written to it goes through its triggers and is nowhere to be read.
CREATE FUNCTION cdp.install_inbox() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.inbox WITH (security_invoker = true) AS
	SELECT NULL::text AS payload, NULL::text AS source WHERE false;
	COMMENT ON VIEW cdp.inbox IS 'Messages in: COPY cdp.inbox(payload) FROM ..., INSERT INTO cdp.inbox(payload, source) SELECT .... Taken at once, never stored.';
	COMMENT ON COLUMN cdp.inbox.payload IS 'JSON as cdp.ingest() takes it: a message, an array of them, or {"batch": [...]}. What is none lands in cdp.rejected.';
	COMMENT ON COLUMN cdp.inbox.source IS 'The system that sends; null is default.';
	CREATE TRIGGER begin_statement BEFORE INSERT ON cdp.inbox FOR EACH STATEMENT EXECUTE FUNCTION cdp.take_inbox();
	CREATE TRIGGER take_row INSTEAD OF INSERT ON cdp.inbox FOR EACH ROW EXECUTE FUNCTION cdp.take_inbox();
	CREATE TRIGGER end_statement AFTER INSERT ON cdp.inbox FOR EACH STATEMENT EXECUTE FUNCTION cdp.take_inbox();
	CREATE TRIGGER update_profile INSTEAD OF UPDATE ON cdp.profiles FOR EACH ROW EXECUTE FUNCTION cdp.update_profile();
END $$;
COMMENT ON FUNCTION cdp.install_inbox() IS 'Part of cdp.init(): the inbox, and the trigger that makes cdp.profiles writable.';

CREATE FUNCTION cdp.retry_rejected(reason text DEFAULT NULL, source text DEFAULT NULL, since timestamptz DEFAULT NULL, max int DEFAULT 100000)
RETURNS TABLE (status text, messages bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 3 AS 'MODULE_PATHNAME', 'cdp_retry_rejected';
COMMENT ON FUNCTION cdp.retry_rejected(text, text, timestamptz, int) IS
'Takes refused messages again, of a reason, a source, refused at or after a time; what is taken leaves cdp.rejected, the rest is counted there. Says how many were accepted, duplicate, rejected.';

CREATE FUNCTION cdp.upsert_profile(who text, traits jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_upsert_profile_text';
COMMENT ON FUNCTION cdp.upsert_profile(text, jsonb) IS
'Sets traits of a person, who is made if nobody has these identifiers, as an UPDATE of cdp.profiles would; null unsets. Returns the profile id.';
CREATE FUNCTION cdp.upsert_profile(who text[], traits jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_upsert_profile_array';
COMMENT ON FUNCTION cdp.upsert_profile(text[], jsonb) IS
'Sets traits of a person, who is made if nobody has these identifiers, as an UPDATE of cdp.profiles would; null unsets. Returns the profile id.';
CREATE FUNCTION cdp.upsert_profile(who cdp.identity_set, traits jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_upsert_profile_set';
COMMENT ON FUNCTION cdp.upsert_profile(cdp.identity_set, jsonb) IS
'Sets traits of a person, who is made if nobody has these identifiers, as an UPDATE of cdp.profiles would; null unsets. Returns the profile id.';
CREATE FUNCTION cdp.upsert_profile(who bigint, traits jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_upsert_profile_profile';
COMMENT ON FUNCTION cdp.upsert_profile(bigint, jsonb) IS
'Sets traits of a person, as an UPDATE of cdp.profiles would; null unsets. Returns the profile id.';
