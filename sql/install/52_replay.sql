-- 52_replay.sql: is everybody what her events say?  Law L2, checked and restored.

CREATE FUNCTION cdp.verify(sample double precision DEFAULT 1.0, who bigint DEFAULT NULL)
RETURNS TABLE (profile_id bigint, what text, live text, recomputed text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'cdp_verify';
COMMENT ON FUNCTION cdp.verify(double precision, bigint) IS
'Recomputes people from events, rules and records and returns what differs from what is stored: nothing, on a healthy system. sample is the share of people to look at, who a single one. Changes nothing; the values are personal data, so only superusers and kind privacy may.';

CREATE FUNCTION cdp.rebuild(profile_id bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_rebuild';
COMMENT ON FUNCTION cdp.rebuild(bigint) IS
'Makes a person what her events, rules and records say, and whoever is linked to her who they should be; true if anything had to be changed.';

CREATE PROCEDURE cdp.rebuild_all(restart boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdp_rebuild_all';
COMMENT ON PROCEDURE cdp.rebuild_all(boolean) IS
'Looks at everybody and rebuilds whom it finds different, in short transactions; how far it is, is in cdp.tasks. Called again after an interruption it goes on where it was, with restart from the beginning.';
