-- 41_activation.sql: act.  Segments to channels, through the outbox.

CREATE FUNCTION cdp.install_activation() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Which identifier is the address on a channel; null: it has none of ours.
	CREATE TABLE cdp_data.channel (
		name		text COLLATE "C" PRIMARY KEY,
		namespace	text COLLATE "C"
	);
	INSERT INTO cdp_data.channel VALUES
		('email', 'email'), ('mail', 'email'), ('sms', 'phone'), ('phone', 'phone'), ('push', 'device_id'), ('line', 'line_id'), ('web', 'anonymous_id'), ('ads', NULL);

	CREATE TABLE cdp_data.activation (
		activation_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		segment_id	int NOT NULL,
		channel		text COLLATE "C" NOT NULL,
		purpose_id	int NOT NULL,
		notify		boolean NOT NULL,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		UNIQUE (segment_id, channel, purpose_id)
	);

	CREATE TABLE cdp_data.outbox (
		delivery_id	uuid PRIMARY KEY DEFAULT gen_random_uuid(),
		activation_id int NOT NULL,
		segment_id	int NOT NULL,
		channel		text COLLATE "C" NOT NULL,
		purpose_id	int NOT NULL,
		profile_id	bigint NOT NULL,
		ord			int NOT NULL,
		-- Whose it was when it was queued; profile_id follows merges.
		first_profile bigint NOT NULL,
		created_at	timestamptz NOT NULL,
		state		text COLLATE "C" NOT NULL DEFAULT 'pending'
			CHECK (state IN ('pending', 'leased', 'delivered', 'suppressed', 'failed', 'merged')),
		leased_until timestamptz,
		leased_by	name,
		attempts	int NOT NULL DEFAULT 0,
		reason		text,
		settled_at	timestamptz
	) WITH (fillfactor = 70);
	CREATE INDEX outbox_waiting ON cdp_data.outbox (channel, created_at) WHERE state IN ('pending', 'leased');
	CREATE INDEX outbox_profile ON cdp_data.outbox (profile_id);
END $$;
COMMENT ON FUNCTION cdp.install_activation() IS 'Step of cdp.init(): tables of activations and the outbox.';

CREATE FUNCTION cdp.define_activation(segment text, channel text, purpose text, notify boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	purpose_no int;
	segment_no int;
	id int;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a channel', channel);
	purpose_no := cdp.purpose_id(purpose);
	-- against cdp.drop_segment() meanwhile
	SELECT s.segment_id INTO segment_no FROM cdp_data.segment s WHERE s.name = segment COLLATE "C" FOR KEY SHARE;
	IF segment_no IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('segment %s does not exist', coalesce(quote_ident(segment), 'NULL')),
			HINT = 'Define it with SELECT cdp.define_segment(...).';
	END IF;
	INSERT INTO cdp_data.activation AS a (segment_id, channel, purpose_id, notify)
	VALUES (segment_no, define_activation.channel, purpose_no, coalesce(define_activation.notify, false))
	ON CONFLICT ON CONSTRAINT activation_segment_id_channel_purpose_id_key DO UPDATE SET notify = excluded.notify
	RETURNING a.activation_id INTO id;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_activation(text, text, text, boolean) IS
'From now on, who enters the segment gets a delivery on the channel, for the purpose; notify also sends NOTIFY cdp_outbox with the channel''s name.';

CREATE FUNCTION cdp.drop_activation(segment text, channel text, purpose text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	DELETE FROM cdp_data.activation a USING cdp_data.segment s, cdp_data.purpose p
	WHERE a.segment_id = s.segment_id AND a.purpose_id = p.purpose_id AND s.name = drop_activation.segment COLLATE "C"
		AND a.channel = drop_activation.channel COLLATE "C" AND p.name = drop_activation.purpose COLLATE "C";
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('segment %s has no such activation', coalesce(quote_ident(segment), 'NULL'));
	END IF;
END $$;
COMMENT ON FUNCTION cdp.drop_activation(text, text, text) IS 'Ends an activation; deliveries in the outbox stay.';

CREATE FUNCTION cdp.claim(channel text, n int DEFAULT 100, lease interval DEFAULT '5 minutes')
RETURNS TABLE (delivery_id uuid, profile_id bigint, address text, payload jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT ROWS 100 AS 'MODULE_PATHNAME', 'cdp_claim';
COMMENT ON FUNCTION cdp.claim(text, int, interval) IS
'Hands out up to n waiting deliveries of a channel, each to one caller until the lease ends; who does not allow the purpose now is suppressed, not delivered.';

CREATE FUNCTION cdp.ack(delivery_ids uuid[]) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_ack';
COMMENT ON FUNCTION cdp.ack(uuid[]) IS
'Marks claimed deliveries as delivered; returns how many were. Deliveries that are not acknowledged are handed out again when their lease ends.';
