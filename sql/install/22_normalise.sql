-- 22_normalise.sql: normal forms of identifier values, and hashes for advertising platforms.
--
-- All of it computes only from its arguments; the rules are compiled in and
-- have versions.  An index on one of these functions has to be rebuilt when
-- the version it was built with is no longer the present one.

CREATE FUNCTION cdp.normalise(value text, normaliser text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_normalise_text';
COMMENT ON FUNCTION cdp.normalise(text, text) IS
'The normal form of a value by a named normaliser; the value itself, without blanks at its ends, if it is not understood.';

CREATE FUNCTION cdp.normalise_verdict(value text, normaliser text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_normalise_verdict';
COMMENT ON FUNCTION cdp.normalise_verdict(text, text) IS
'How far a normaliser understands a value: valid (fits its rules), plausible (has the shape) or unknown (kept as it is).';

CREATE FUNCTION cdp.normalisers() RETURNS TABLE (name text, version int, description text)
LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 86 AS 'MODULE_PATHNAME', 'cdp_normalisers';
COMMENT ON FUNCTION cdp.normalisers() IS
'The normalisers there are, each with the version of its rules.';

CREATE FUNCTION cdp.platform_hash(value text, kind text, platform text) RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_platform_hash';
COMMENT ON FUNCTION cdp.platform_hash(text, text, text) IS
'SHA-256 of a value of a kind (email, phone, name, ...) as a platform (google, meta, tiktok, uid2) wants it; NULL for a value that its rule makes nothing of.';

CREATE FUNCTION cdp.platform_rules() RETURNS TABLE (platform text, kind text, version int, description text)
LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 13 AS 'MODULE_PATHNAME', 'cdp_platform_rules';
COMMENT ON FUNCTION cdp.platform_rules() IS
'What cdp.platform_hash() knows to hash, each with the version of its rule.';
