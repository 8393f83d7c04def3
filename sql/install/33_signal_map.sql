-- 33_signal_map.sql: what a consent signal means for the purposes of this database.

CREATE FUNCTION cdp.install_signal_map() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.signal_map (
		map_id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('tcf', 'gpp', 'usp', 'gpc')),
		purpose_id	int NOT NULL,
		channel		text COLLATE "C" NOT NULL,
		-- of a TC string: all of these, for the vendor if there is one
		tcf_purposes int[] NOT NULL,
		special_features int[] NOT NULL,
		vendor		int,
		basis		text COLLATE "C" NOT NULL,
		-- of a GPP string: a field of a section, or of every one of the United States
		section		text COLLATE "C",
		field		text COLLATE "C",
		-- Is a yes a grant?  Else only a no is recorded.
		grants		boolean NOT NULL,
		UNIQUE (kind, purpose_id, channel, tcf_purposes, special_features, vendor, basis, section, field)
	);
END $$;
COMMENT ON FUNCTION cdp.install_signal_map() IS 'Step of cdp.init(): what signals mean for purposes.';

CREATE FUNCTION cdp.map_signal(kind text, purpose text, channel text DEFAULT 'all', tcf_purposes int[] DEFAULT '{}', special_features int[] DEFAULT '{}', vendor int DEFAULT NULL,
	basis text DEFAULT NULL, section text DEFAULT NULL, field text DEFAULT NULL, grants boolean DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	purpose_no int;
	id int;
	tcf boolean := map_signal.kind = 'tcf';
	why text;
BEGIN
	PERFORM cdp.require_admin();
	purpose_no := cdp.purpose_id(map_signal.purpose);
	IF map_signal.channel <> 'all' AND NOT EXISTS (SELECT FROM cdp_data.channel c WHERE c.name = map_signal.channel COLLATE "C") OR map_signal.channel IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('channel %s does not exist', coalesce(quote_literal(map_signal.channel), 'NULL')),
			HINT = 'Declare it with SELECT cdp.define_channel(...), or say ''all''.';
	END IF;
	why := CASE
		WHEN coalesce(map_signal.kind, '') NOT IN ('tcf', 'gpp', 'usp', 'gpc') THEN 'the kinds of signals are tcf, gpp, usp and gpc'
		WHEN tcf AND (map_signal.tcf_purposes IS NULL OR map_signal.special_features IS NULL OR array_position(map_signal.tcf_purposes || map_signal.special_features, NULL) IS NOT NULL) THEN 'purposes and special features are lists without nulls'
		WHEN tcf AND cardinality(map_signal.tcf_purposes) + cardinality(map_signal.special_features) = 0 THEN 'a TC string is asked for purposes, special features or both'
		WHEN tcf AND EXISTS (SELECT FROM unnest(map_signal.tcf_purposes) u WHERE u NOT BETWEEN 1 AND 24) THEN 'purposes of a TC string are 1 to 24'
		WHEN tcf AND EXISTS (SELECT FROM unnest(map_signal.special_features) u WHERE u NOT BETWEEN 1 AND 12) THEN 'special features of a TC string are 1 to 12'
		WHEN tcf AND map_signal.vendor NOT BETWEEN 1 AND 65535 THEN 'vendors are 1 to 65535'
		WHEN tcf AND coalesce(map_signal.basis, 'consent') NOT IN ('consent', 'legitimate_interest', 'any') THEN 'the basis is consent, legitimate_interest or any'
		WHEN NOT tcf AND (cardinality(map_signal.tcf_purposes || map_signal.special_features) > 0 OR map_signal.vendor IS NOT NULL OR map_signal.basis IS NOT NULL) THEN 'purposes, special features, vendor and basis are those of a TC string'
		WHEN map_signal.kind <> 'gpp' AND (map_signal.section IS NOT NULL OR map_signal.field IS NOT NULL) THEN 'a section and a field are those of a GPP string'
		-- a notice that was given is neither a yes nor a no
		WHEN map_signal.kind = 'gpp' AND (map_signal.field !~ '(OptOut|Consents|Processing)$' OR map_signal.field IS NULL) THEN 'the field of a GPP string is an opt-out, a consent or SensitiveDataProcessing'
		WHEN map_signal.section !~ '^us[a-z]{2,3}$' THEN 'the section is usnat or a state''s, or null for all of them'
		WHEN map_signal.kind = 'gpc' AND map_signal.grants THEN 'Global Privacy Control can only say no' END;
	IF why IS NOT NULL THEN
		RAISE invalid_parameter_value USING MESSAGE = 'the signal cannot be mapped so', DETAIL = why || '.';
	END IF;
	SELECT m.map_id INTO id FROM cdp_data.signal_map m WHERE (m.kind, m.purpose_id, m.channel, m.tcf_purposes, m.special_features, m.vendor, m.section, m.field) IS NOT DISTINCT FROM
		(map_signal.kind, purpose_no, map_signal.channel, map_signal.tcf_purposes, map_signal.special_features, map_signal.vendor, map_signal.section, map_signal.field) FOR UPDATE;
	IF id IS NOT NULL THEN
		UPDATE cdp_data.signal_map m SET basis = coalesce(map_signal.basis, m.basis), grants = coalesce(map_signal.grants, m.grants) WHERE m.map_id = id;
		RETURN id;
	END IF;
	INSERT INTO cdp_data.signal_map AS m (kind, purpose_id, channel, tcf_purposes, special_features, vendor, basis, section, field, grants)
	VALUES (map_signal.kind, purpose_no, map_signal.channel, map_signal.tcf_purposes, map_signal.special_features, map_signal.vendor,
		CASE WHEN tcf THEN coalesce(map_signal.basis, 'consent') ELSE 'opt_out' END, map_signal.section, map_signal.field, coalesce(map_signal.grants, tcf))
	RETURNING m.map_id INTO id;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.map_signal(text, text, text, int[], int[], int, text, text, text, boolean) IS
'Says what a kind of signal means for a purpose: a no is recorded as denied, a yes as granted if grants (by default for TC strings: who did not opt out did not say yes). Of several rows for a purpose, one no is a no.';

CREATE FUNCTION cdp.unmap_signal(map_id int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	DELETE FROM cdp_data.signal_map m WHERE m.map_id = unmap_signal.map_id;
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('signal map %s does not exist', map_id), HINT = 'See cdp.signal_map.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.unmap_signal(int) IS 'Takes a row of cdp.signal_map away; what was recorded by it stays.';

-- Does the vendor appear in ranges [[first, last], ...]?  Null: no vendor is asked for.
CREATE FUNCTION cdp.tcf_has_vendor(ranges jsonb, vendor int) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	SELECT vendor IS NULL OR EXISTS (SELECT FROM jsonb_array_elements(ranges) r WHERE vendor BETWEEN (r ->> 0)::int AND (r ->> 1)::int)
$$;
COMMENT ON FUNCTION cdp.tcf_has_vendor(jsonb, int) IS 'Is the vendor in a set of vendors as cdp.decode_tcf() gives it? True if no vendor is asked for.';

CREATE FUNCTION cdp.tcf_allows(tcf jsonb, purpose int, vendor int, basis text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
	WITH forbids AS MATERIALIZED (
		SELECT coalesce(bool_or(r -> 'type' = '0'), false) AS all_use, coalesce(bool_or(r -> 'type' = '1'), false) AS interest, coalesce(bool_or(r -> 'type' = '2'), false) AS consent
		FROM jsonb_array_elements(tcf -> 'publisher_restrictions') r
		WHERE vendor IS NOT NULL AND (r ->> 'purpose')::int = purpose AND cdp.tcf_has_vendor(r -> 'vendors', vendor))
	SELECT NOT f.all_use AND (
		basis IN ('consent', 'any') AND NOT f.consent AND tcf -> 'purposes_consent' @> to_jsonb(purpose) AND cdp.tcf_has_vendor(tcf -> 'vendor_consent_ids', vendor)
		-- purpose 1 and those of personalisation are by consent only
		OR basis IN ('legitimate_interest', 'any') AND NOT f.interest AND purpose NOT IN (1, 3, 4, 5, 6)
			AND tcf -> 'purposes_li' @> to_jsonb(purpose) AND cdp.tcf_has_vendor(tcf -> 'vendor_li_ids', vendor))
	FROM forbids f
$$;
COMMENT ON FUNCTION cdp.tcf_allows(jsonb, int, int, text) IS
'May the vendor (null: the publisher itself) use data for this purpose of a TC string, decoded by cdp.decode_tcf(), on this basis (consent, legitimate_interest, any)? Publisher restrictions are applied.';

CREATE FUNCTION cdp.read_signal(kind text, value text)
RETURNS TABLE (purpose_id int, purpose text, channel text, state text, basis text, broken text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	-- what is in it, by the kind of the rows that read it
	tcf jsonb;
	usp jsonb;
	us jsonb := '{}';
	gpc boolean;
	why text;
	whole jsonb;
BEGIN
	BEGIN
		CASE read_signal.kind
			WHEN 'tcf' THEN
				tcf := cdp.decode_tcf(value);
				why := CASE WHEN value IS NULL THEN 'there is none' END;
			WHEN 'usp' THEN
				whole := cdp.decode_usp(value);
				usp := CASE WHEN whole -> 'applies' = 'true' THEN whole -> 'opt_out_sale' END;
				why := CASE WHEN value IS NULL THEN 'there is none' END;
			WHEN 'gpp' THEN
				whole := cdp.decode_gpp(value) -> 'sections';
				why := CASE WHEN value IS NULL THEN 'there is none' END;
				tcf := whole -> 'tcfeuv2';
				usp := CASE WHEN (whole #>> '{uspv1,Notice}') <> '-' OR (whole #>> '{uspv1,OptOutSale}') <> '-' OR (whole #>> '{uspv1,LspaCovered}') <> '-' THEN whole #> '{uspv1,OptOutSale}' END;
				SELECT coalesce(jsonb_object_agg(s.key, s.value), '{}'), bool_or(s.value -> 'Gpc' = 'true') INTO us, gpc FROM jsonb_each(whole) s WHERE s.key ~ '^us[a-z]{2,3}$';
			WHEN 'gpc' THEN
				-- anything but 1 is, by its specification, as if it were not there
				gpc := value = '1';
				why := CASE WHEN value <> '1' THEN 'Global Privacy Control is the character 1, or not there' END;
			ELSE
				RAISE invalid_parameter_value USING
					MESSAGE = format('kind of signal %s is unknown', coalesce(quote_literal(read_signal.kind), 'NULL')),
					HINT = 'Kinds are tcf, gpp, usp and gpc.';
		END CASE;
	EXCEPTION WHEN invalid_text_representation OR program_limit_exceeded THEN
		GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	END;
	RETURN QUERY
	SELECT x.purpose_id, p.name::text, x.channel::text, CASE WHEN x.no THEN 'denied' ELSE 'granted' END, x.basis::text, why
	FROM (SELECT m.purpose_id, m.channel, bool_or(a.answer IS FALSE) AS no, bool_or(a.answer AND m.grants) AS yes,
			min(m.basis) FILTER (WHERE a.answer IS NOT NULL) AS basis
		FROM cdp_data.signal_map m
		CROSS JOIN LATERAL (SELECT CASE
			WHEN why IS NOT NULL AND read_signal.kind <> 'gpc' THEN CASE WHEN read_signal.kind IN (m.kind, 'gpp') THEN false END
			WHEN m.kind = 'tcf' AND tcf IS NOT NULL THEN
				NOT EXISTS (SELECT FROM unnest(m.tcf_purposes) u WHERE NOT cdp.tcf_allows(tcf, u, m.vendor, m.basis))
				AND tcf -> 'special_feature_opt_ins' @> to_jsonb(m.special_features)
				AND (cardinality(m.tcf_purposes) > 0 OR cdp.tcf_has_vendor(tcf -> 'vendor_consent_ids', m.vendor))
			WHEN m.kind = 'usp' AND usp IS NOT NULL THEN usp = '"N"'
			WHEN m.kind = 'gpc' AND gpc THEN false
			WHEN m.kind = 'gpp' THEN
				-- 1 is a no, 2 a yes, 0 does not apply; anything else is not known, and so a no
				(SELECT CASE WHEN bool_or(v NOT IN ('0', '2')) THEN false WHEN bool_or(v = '2') THEN true END
				FROM jsonb_each(us) s CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(s.value -> m.field)
					WHEN 'array' THEN s.value -> m.field WHEN 'number' THEN jsonb_build_array(s.value -> m.field) ELSE '[]' END) v
				WHERE m.section IS NULL OR s.key = m.section)
			END AS answer) a
		GROUP BY m.purpose_id, m.channel) x
	JOIN cdp_data.purpose p ON p.purpose_id = x.purpose_id
	WHERE x.no OR x.yes ORDER BY p.name, x.channel;
	IF NOT FOUND AND why IS NOT NULL THEN
		RETURN QUERY SELECT NULL::int, NULL::text, NULL::text, NULL::text, NULL::text, why;
	END IF;
END $$;
COMMENT ON FUNCTION cdp.read_signal(text, text) IS
'What a signal means by cdp.signal_map: a row for each purpose and channel of which it says something. broken says why it cannot be read: then all that its kind could speak of is denied.';
