-- 24_signal.sql: consent signals of websites and apps, decoded.
--
-- They compute only from their argument.  What a signal means for a purpose
-- is not decided here.

CREATE FUNCTION cdp.decode_tcf(tc_string text) RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_decode_tcf';
COMMENT ON FUNCTION cdp.decode_tcf(text) IS
'What a TC string of IAB Europe''s Transparency and Consent Framework (version 2) says; an error if any part of it cannot be read.';

CREATE FUNCTION cdp.decode_gpp(gpp_string text) RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_decode_gpp';
COMMENT ON FUNCTION cdp.decode_gpp(text) IS
'What a string of the Global Privacy Platform (version 1) says, section by section; an error if any part of it cannot be read.';

CREATE FUNCTION cdp.decode_usp(us_privacy text) RETURNS jsonb
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_decode_usp';
COMMENT ON FUNCTION cdp.decode_usp(text) IS
'What a US Privacy string (version 1, four characters) says; an error if it is not one.';
