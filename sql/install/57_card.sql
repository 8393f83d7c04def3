-- 57_card.sql: what a clerk or an agent sees of a person at a glance, and says back.

CREATE FUNCTION cdp.give_feedback(who text, item_id text, reaction text, note text DEFAULT NULL, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	score int := CASE reaction WHEN 'like' THEN 1 WHEN 'neutral' THEN 0 WHEN 'dislike' THEN -1 END;
BEGIN
	IF score IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('reaction %s is unknown', coalesce(quote_literal(reaction), 'NULL')),
			HINT = 'Reactions are like, neutral and dislike.';
	END IF;
	IF item_id IS NULL OR item_id = '' OR octet_length(item_id) > 255 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'the id of an item must be text of 1 to 255 bytes';
	END IF;
	RETURN cdp.track(who, 'Feedback Given', jsonb_strip_nulls(jsonb_build_object('item_id', item_id, 'reaction', reaction, 'score', score, 'note', note)), at, message_id, source);
END $$;
COMMENT ON FUNCTION cdp.give_feedback(text, text, text, text, timestamptz, text, text) IS
'A person''s reaction to an item (like, neutral, dislike), as somebody saw it: an event that changes her affinities at once. Returns the profile.';

CREATE FUNCTION cdp.card(who text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id bigint := cdp.resolve(who);
	p record;
BEGIN
	SELECT * INTO p FROM cdp.profiles x WHERE x.profile_id = id;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object(
		'profile_id', id,
		'known_as', p.identifiers,
		'first_seen', p.first_seen, 'last_seen', p.last_seen, 'events', p.events,
		'segments', to_jsonb(p.segments),
		-- the five liked best in each dimension: always, just now, and as she says
		'likes', (SELECT coalesce(jsonb_object_agg(d.dimension, d.likes), '{}') FROM (
			SELECT h.dimension, jsonb_object_agg(h.horizon, h.liked) AS likes FROM (
				SELECT a.dimension, a.horizon, jsonb_agg(jsonb_build_object('value', a.value, 'score', round(a.score::numeric, 3)) ORDER BY a.rank) AS liked
				FROM cdp.affinities a WHERE a.profile_id = id AND a.rank <= 5 AND a.score >= 0.0005 GROUP BY a.dimension, a.horizon) h
			GROUP BY h.dimension) d),
		'events_lately', (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('at', e.ts, 'event', coalesce(e.name, e.type), 'properties', e.properties)) ORDER BY e.ts DESC, e.message_id), '[]')
			FROM (SELECT * FROM cdp.events x WHERE x.profile_id = id ORDER BY x.ts DESC, x.message_id LIMIT 5) e),
		'messages_lately', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', o.created_at, 'channel', o.channel, 'segment', o.segment, 'state', o.state) ORDER BY o.created_at DESC, o.delivery_id), '[]')
			FROM (SELECT * FROM cdp.outbox x WHERE x.profile_id = id ORDER BY x.created_at DESC, x.delivery_id LIMIT 5) o),
		'allows', (SELECT coalesce(jsonb_agg(f.purpose ORDER BY f.purpose), '[]') FROM cdp.consent_flags f WHERE f.profile_id = id AND f.channel = 'all' AND f.allowed));
END $$;
COMMENT ON FUNCTION cdp.card(text) IS
'What a clerk or an agent sees of a person at a glance: what she likes, her segments, last events and messages, and what she allows. NULL for nobody, and for whom the caller may not see.';
