-- 58_consent_views.sql: consent in words, as flags, and in numbers.

CREATE FUNCTION cdp.install_consent_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.channels WITH (security_invoker = true) AS
	SELECT 'all' AS name, NULL::text AS namespace UNION ALL SELECT c.name::text, c.namespace::text FROM cdp_data.channel c;
	COMMENT ON VIEW cdp.channels IS 'What people can be reached on, and the namespace of the identifiers that are addresses there; all is what a consent says that names no channel.';

	CREATE VIEW cdp.notices WITH (security_invoker = true) AS
	SELECT p.name::text AS purpose, n.version::text AS version, nullif(n.required_from, 'infinity') AS required_from,
		n.required_from <= cdp.clock() AND NOT EXISTS (SELECT FROM cdp_data.notice w
			WHERE w.purpose_id = n.purpose_id AND w.notice_id > n.notice_id AND w.required_from <= cdp.clock()) AS required, n.notice_id
	FROM cdp_data.notice n JOIN cdp_data.purpose p ON p.purpose_id = n.purpose_id;
	COMMENT ON VIEW cdp.notices IS 'Versions of what people are told of a purpose; a grant counts if no later one is required by now.';

	CREATE VIEW cdp.signal_map WITH (security_invoker = true) AS
	SELECT m.map_id, m.kind::text AS kind, p.name::text AS purpose, m.channel::text AS channel, m.tcf_purposes, m.special_features, m.vendor, m.basis::text AS basis,
		m.section::text AS section, m.field::text AS field, m.grants
	FROM cdp_data.signal_map m JOIN cdp_data.purpose p ON p.purpose_id = m.purpose_id;
	COMMENT ON VIEW cdp.signal_map IS 'What signals of browsers mean for purposes; cdp.map_signal() writes it, cdp.apply_signal() reads it.';

	CREATE VIEW cdp.consents WITH (security_invoker = true) AS
	SELECT n.profile_id, i.namespace::text AS namespace, i.value::text AS value, p.name::text AS purpose, c.state::text AS state,
		c.ts AS at, nullif(c.valid_until, 'infinity') AS valid_until, c.source,
		c.channel::text AS channel, c.basis::text AS basis, v.version::text AS notice, c.collection_point, c.valid_from, c.jurisdiction::text AS jurisdiction,
		-- the decision table of docs/consent.md, from above
		CASE c.state WHEN 'restricted' THEN 1 WHEN 'objected' THEN 2 WHEN 'withdrawn' THEN 3 WHEN 'denied' THEN 4
			ELSE CASE WHEN c.valid_until <= cdp.clock() THEN 5
				WHEN EXISTS (SELECT FROM cdp_data.notice w WHERE w.purpose_id = c.purpose_id AND w.notice_id > coalesce(c.notice_id, 0) AND w.required_from <= cdp.clock()) THEN 6
				WHEN c.valid_from > cdp.clock() THEN 7 ELSE 8 END END AS precedence,
		c.node_id
	FROM cdp_data.consent_current c
	JOIN cdp_data.purpose p ON p.purpose_id = c.purpose_id
	LEFT JOIN cdp_data.notice v ON v.notice_id = c.notice_id
	LEFT JOIN cdp_data.node n ON n.node_id = c.node_id
	LEFT JOIN cdp_data.identifier i ON i.node_id = c.node_id;
	COMMENT ON VIEW cdp.consents IS 'Latest consent of each identifier for a purpose, on all channels and on each that was spoken of.';
	COMMENT ON COLUMN cdp.consents.precedence IS 'The lowest of a person''s records decides: 1 restricted, 2 objected, 3 withdrawn, 4 denied, 5 granted but over, 6 granted under a notice before the one required, 7 granted from later on, 8 granted. Only 8 allows.';

	CREATE VIEW cdp.consent_log WITH (security_invoker = true) AS
	SELECT n.profile_id, i.namespace::text AS namespace, i.value::text AS value, p.name::text AS purpose, c.state::text AS state,
		c.ts AS at, nullif(c.valid_until, 'infinity') AS valid_until, c.source, c.message_id, c.recorded_at, c.recorded_by,
		c.channel::text AS channel, c.basis::text AS basis, v.version::text AS notice, c.collection_point, c.valid_from, c.jurisdiction::text AS jurisdiction,
		c.signal, c.node_id, c.message_key
	FROM cdp_data.consent_log c
	JOIN cdp_data.purpose p ON p.purpose_id = c.purpose_id
	LEFT JOIN cdp_data.notice v ON v.notice_id = c.notice_id
	LEFT JOIN cdp_data.node n ON n.node_id = c.node_id
	LEFT JOIN cdp_data.identifier i ON i.node_id = c.node_id;
	COMMENT ON VIEW cdp.consent_log IS 'Every consent ever recorded; append only.';
	COMMENT ON COLUMN cdp.consent_log.signal IS 'The signal it was read from, as it came, its kind before it; null if it was said directly.';

	CREATE VIEW cdp.jurisdictions WITH (security_invoker = true) AS
	SELECT n.profile_id, i.namespace::text AS namespace, i.value::text AS value, c.jurisdiction::text AS jurisdiction, c.ts AS at, c.source, c.message_id, c.recorded_at, c.recorded_by
	FROM cdp_data.consent_log c LEFT JOIN cdp_data.node n ON n.node_id = c.node_id LEFT JOIN cdp_data.identifier i ON i.node_id = c.node_id WHERE c.purpose_id = 0;
	COMMENT ON VIEW cdp.jurisdictions IS 'Every statement of whose law holds for an identifier, by cdp.set_jurisdiction(); the latest, by its time, holds.';

	CREATE VIEW cdp.consent_defaults WITH (security_invoker = true) AS
	SELECT p.name::text AS purpose, d.jurisdiction::text AS jurisdiction, d.allows
	FROM cdp_data.consent_default d JOIN cdp_data.purpose p ON p.purpose_id = d.purpose_id;
	COMMENT ON VIEW cdp.consent_defaults IS 'What holds where nobody was asked, by jurisdiction; where nothing is defined nothing is allowed.';

	CREATE VIEW cdp.consent_flags WITH (security_invoker = true) AS
	SELECT w.profile_id, p.name::text AS purpose, h.name AS channel,
		-- a no of any kind; a yes to the purpose; else what holds where nobody was asked
		CASE WHEN d.precedence < 8 THEN false WHEN d.channel = 'all' THEN true ELSE coalesce(j.allows, false) END AS allowed,
		d.state, d.at, d.valid_until, d.basis, d.notice, d.source, d.channel AS decided_by_channel, d.namespace AS decided_by_namespace, j.jurisdictions
	FROM (SELECT DISTINCT n.profile_id FROM cdp_data.node n) w CROSS JOIN cdp_data.purpose p CROSS JOIN cdp.channels h
	LEFT JOIN LATERAL (SELECT c.* FROM cdp.consents c WHERE c.profile_id = w.profile_id AND c.purpose = p.name AND c.channel IN ('all', h.name)
		ORDER BY c.precedence, (c.channel = 'all') DESC, c.valid_until, c.at DESC, c.namespace, c.value LIMIT 1) d ON true
	CROSS JOIN LATERAL (SELECT bool_and(coalesce(x.allows, false)) AS allows, array_agg(s.jurisdiction ORDER BY s.jurisdiction) AS jurisdictions
		FROM (SELECT DISTINCT c.jurisdiction::text AS jurisdiction FROM cdp_data.node n JOIN cdp_data.consent_current c ON c.node_id = n.node_id AND c.purpose_id = 0 WHERE n.profile_id = w.profile_id) s
		LEFT JOIN cdp_data.consent_default x ON x.purpose_id = p.purpose_id AND x.jurisdiction = s.jurisdiction) j;
	COMMENT ON VIEW cdp.consent_flags IS 'May we? One row per person, purpose and channel, with the record that decides; setting allowed records a consent for all her identifiers, as kind privacy.';
	COMMENT ON COLUMN cdp.consent_flags.allowed IS 'True if the purpose is allowed and no identifier says no of the channel; set it to record that.';
	COMMENT ON COLUMN cdp.consent_flags.jurisdictions IS 'Whose law it is, of identifiers of whom it was stated; without a record every one of them must allow.';
	CREATE TRIGGER consent_flags_update INSTEAD OF UPDATE ON cdp.consent_flags FOR EACH ROW EXECUTE FUNCTION cdp.set_consent_flag();

	CREATE VIEW cdp.consent_stats WITH (security_invoker = true) AS
	SELECT l.purpose, l.channel, l.state, l.source, l.collection_point, l.basis, l.notice, l.jurisdiction, (l.at AT TIME ZONE 'UTC')::date AS day,
		count(*) AS records, count(DISTINCT l.profile_id) AS people
	FROM cdp.consent_log l GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
	COMMENT ON VIEW cdp.consent_stats IS 'What was recorded, by purpose, channel, state, source, version of the notice and day (UTC).';

	CREATE VIEW cdp.withdrawals WITH (security_invoker = true) AS
	SELECT x.profile_id, x.namespace, x.value, x.purpose, x.channel, x.state, x.at, x.source, x.granted_at, x.granted_source, x.granted_notice
	FROM (SELECT l.*, lag(l.state) OVER w AS before, lag(l.at) OVER w AS granted_at, lag(l.source) OVER w AS granted_source, lag(l.notice) OVER w AS granted_notice
		FROM cdp.consent_log l WINDOW w AS (PARTITION BY l.node_id, l.purpose, l.channel ORDER BY l.at, l.message_key)) x
	WHERE x.state <> 'granted' AND x.before = 'granted';
	COMMENT ON VIEW cdp.withdrawals IS 'Every no that took the place of a yes of the same identifier, with the yes it ended.';

	CREATE VIEW cdp.purpose_reach WITH (security_invoker = true) AS
	SELECT p.name::text AS purpose, count(*) FILTER (WHERE o.valid_to > cdp.clock() AND coalesce(o.valid_from <= cdp.clock(), true) AND coalesce(o.notice_id, 0) >= r.notice_id) AS people,
		count(*) FILTER (WHERE o.valid_to <= cdp.clock()) AS expired,
		count(*) FILTER (WHERE o.valid_to > cdp.clock() AND coalesce(o.notice_id, 0) < r.notice_id) AS outdated,
		count(*) FILTER (WHERE o.valid_to > cdp.clock() AND o.valid_from > cdp.clock() AND coalesce(o.notice_id, 0) >= r.notice_id) AS later
	FROM cdp_data.purpose p LEFT JOIN cdp_data.consent_ord o ON o.purpose_id = p.purpose_id
	CROSS JOIN LATERAL (SELECT coalesce(max(n.notice_id), 0) AS notice_id FROM cdp_data.notice n WHERE n.purpose_id = p.purpose_id AND n.required_from <= cdp.clock()) r
	GROUP BY p.purpose_id, p.name;
	COMMENT ON VIEW cdp.purpose_reach IS 'How many people each purpose may read now, and how many had allowed it whose grant is over, under a notice that does not suffice, or for later; kind privacy only.';
END $$;
COMMENT ON FUNCTION cdp.install_consent_views() IS 'Step of cdp.init(): views of consent.';

CREATE FUNCTION cdp.set_consent_flag() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF (NEW.profile_id, NEW.purpose, NEW.channel) IS DISTINCT FROM (OLD.profile_id, OLD.purpose, OLD.channel) OR NEW.allowed IS NULL THEN
		RAISE feature_not_supported USING
			MESSAGE = 'of a flag only allowed, valid_until, basis and notice can be set',
			HINT = 'UPDATE cdp.consent_flags SET allowed = ... WHERE profile_id = ... AND purpose = ... AND channel = ...';
	END IF;
	IF (NEW.allowed, NEW.valid_until, NEW.basis, NEW.notice) IS NOT DISTINCT FROM (OLD.allowed, OLD.valid_until, OLD.basis, OLD.notice) THEN
		RETURN NEW;
	END IF;
	IF NEW.allowed AND NEW.channel <> 'all' AND NOT EXISTS (SELECT FROM cdp.consent_flags f
			WHERE f.profile_id = OLD.profile_id AND f.purpose = OLD.purpose AND f.channel = 'all' AND f.allowed) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('a channel cannot be allowed for purpose %s, which the person does not allow', quote_ident(OLD.purpose)),
			HINT = 'A channel only narrows a purpose: set the flag of channel all first.';
	END IF;
	-- what was not set is not said again, it was said of the record before; but a yes does not last longer by it, nor is a no another one
	PERFORM cdp.set_consent(OLD.profile_id, OLD.purpose, CASE WHEN NEW.allowed THEN 'granted' WHEN NOT OLD.allowed AND OLD.state <> 'granted' THEN OLD.state ELSE 'withdrawn' END,
		source => 'dashboard', channel => OLD.channel,
		valid_until => CASE WHEN NEW.valid_until IS DISTINCT FROM OLD.valid_until THEN NEW.valid_until WHEN OLD.allowed AND NEW.allowed THEN (
			SELECT min(c.valid_until) FROM cdp.consents c WHERE c.profile_id = OLD.profile_id AND c.purpose = OLD.purpose AND c.channel = OLD.channel) END,
		basis => CASE WHEN NEW.basis IS DISTINCT FROM OLD.basis THEN NEW.basis END,
		notice => CASE WHEN NEW.notice IS DISTINCT FROM OLD.notice THEN NEW.notice END);
	RETURN NEW;
END $$;
COMMENT ON FUNCTION cdp.set_consent_flag() IS 'Trigger of cdp.consent_flags: records what was set, for all identifiers of the person.';

CREATE FUNCTION cdp.explain_consent(who text, purpose text, channel text DEFAULT 'all')
RETURNS TABLE (allowed boolean, reason text, identifier text, state text, decided_by_channel text, at timestamptz, valid_from timestamptz, valid_until timestamptz, basis text, notice text, jurisdiction text,
	source text, collection_point text, message_id text, recorded_at timestamptz, recorded_by name, signal text, records int)
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'cdp_explain_consent_text';
COMMENT ON FUNCTION cdp.explain_consent(text, text, text) IS
'May we, and why: the answer for a purpose on a channel and the one record that decides it, of how many. No row for nobody, and for whom the caller may not see.';
CREATE FUNCTION cdp.explain_consent(who text[], purpose text, channel text DEFAULT 'all')
RETURNS TABLE (allowed boolean, reason text, identifier text, state text, decided_by_channel text, at timestamptz, valid_from timestamptz, valid_until timestamptz, basis text, notice text, jurisdiction text,
	source text, collection_point text, message_id text, recorded_at timestamptz, recorded_by name, signal text, records int)
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'cdp_explain_consent_array';
COMMENT ON FUNCTION cdp.explain_consent(text[], text, text) IS
'May we, and why: the answer for a purpose on a channel and the one record that decides it, of how many. No row for nobody, and for whom the caller may not see.';
CREATE FUNCTION cdp.explain_consent(who cdp.identity_set, purpose text, channel text DEFAULT 'all')
RETURNS TABLE (allowed boolean, reason text, identifier text, state text, decided_by_channel text, at timestamptz, valid_from timestamptz, valid_until timestamptz, basis text, notice text, jurisdiction text,
	source text, collection_point text, message_id text, recorded_at timestamptz, recorded_by name, signal text, records int)
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'cdp_explain_consent_set';
COMMENT ON FUNCTION cdp.explain_consent(cdp.identity_set, text, text) IS
'May we, and why: the answer for a purpose on a channel and the one record that decides it, of how many. No row for nobody, and for whom the caller may not see.';
CREATE FUNCTION cdp.explain_consent(who bigint, purpose text, channel text DEFAULT 'all')
RETURNS TABLE (allowed boolean, reason text, identifier text, state text, decided_by_channel text, at timestamptz, valid_from timestamptz, valid_until timestamptz, basis text, notice text, jurisdiction text,
	source text, collection_point text, message_id text, recorded_at timestamptz, recorded_by name, signal text, records int)
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'cdp_explain_consent_profile';
COMMENT ON FUNCTION cdp.explain_consent(bigint, text, text) IS
'May we, and why: the answer for a purpose on a channel and the one record that decides it, of how many. No row for nobody, and for whom the caller may not see.';

CREATE FUNCTION cdp.apply_signal(who text, kind text, value text, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default',
	valid_until timestamptz DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_apply_signal_text';
COMMENT ON FUNCTION cdp.apply_signal(text, text, text, timestamptz, text, text, timestamptz, text, text, text) IS
'Records what a signal (tcf, gpp, usp, gpc) says for purposes, by cdp.signal_map, of exactly these identifiers; one that cannot be read is a no, and is kept in cdp.rejected. Returns the profile id, NULL if it says nothing.';
CREATE FUNCTION cdp.apply_signal(who text[], kind text, value text, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default',
	valid_until timestamptz DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_apply_signal_array';
COMMENT ON FUNCTION cdp.apply_signal(text[], text, text, timestamptz, text, text, timestamptz, text, text, text) IS
'Records what a signal (tcf, gpp, usp, gpc) says for purposes, by cdp.signal_map, of exactly these identifiers; one that cannot be read is a no, and is kept in cdp.rejected. Returns the profile id, NULL if it says nothing.';
CREATE FUNCTION cdp.apply_signal(who cdp.identity_set, kind text, value text, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default',
	valid_until timestamptz DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_apply_signal_set';
COMMENT ON FUNCTION cdp.apply_signal(cdp.identity_set, text, text, timestamptz, text, text, timestamptz, text, text, text) IS
'Records what a signal (tcf, gpp, usp, gpc) says for purposes, by cdp.signal_map, of exactly these identifiers; one that cannot be read is a no, and is kept in cdp.rejected. Returns the profile id, NULL if it says nothing.';
CREATE FUNCTION cdp.apply_signal(who bigint, kind text, value text, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default',
	valid_until timestamptz DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_apply_signal_profile';
COMMENT ON FUNCTION cdp.apply_signal(bigint, text, text, timestamptz, text, text, timestamptz, text, text, text) IS
'Records what a signal (tcf, gpp, usp, gpc) says for purposes, by cdp.signal_map, of exactly these identifiers; one that cannot be read is a no, and is kept in cdp.rejected. Returns the profile id, NULL if it says nothing.';

CREATE FUNCTION cdp.set_jurisdiction(who text, jurisdiction text, at timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_jurisdiction_text';
COMMENT ON FUNCTION cdp.set_jurisdiction(text, text, timestamptz, text, text) IS
'Records whose law holds for these identifiers, such as eu, us-ca or jp: it decides where nobody was asked. Returns the profile id.';
CREATE FUNCTION cdp.set_jurisdiction(who text[], jurisdiction text, at timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_jurisdiction_array';
COMMENT ON FUNCTION cdp.set_jurisdiction(text[], text, timestamptz, text, text) IS
'Records whose law holds for these identifiers, such as eu, us-ca or jp: it decides where nobody was asked. Returns the profile id.';
CREATE FUNCTION cdp.set_jurisdiction(who cdp.identity_set, jurisdiction text, at timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_jurisdiction_set';
COMMENT ON FUNCTION cdp.set_jurisdiction(cdp.identity_set, text, timestamptz, text, text) IS
'Records whose law holds for these identifiers, such as eu, us-ca or jp: it decides where nobody was asked. Returns the profile id.';
CREATE FUNCTION cdp.set_jurisdiction(who bigint, jurisdiction text, at timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_jurisdiction_profile';
COMMENT ON FUNCTION cdp.set_jurisdiction(bigint, text, timestamptz, text, text) IS
'Records whose law holds for these identifiers, such as eu, us-ca or jp: it decides where nobody was asked. Returns the profile id.';
