-- 23_condition.sql: the condition language.

CREATE FUNCTION cdp.matches(document jsonb, rule jsonb, groups jsonb DEFAULT '{}') RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'cdp_matches';
COMMENT ON FUNCTION cdp.matches(jsonb, jsonb, jsonb) IS
'Does a document meet a rule of the condition language, as {"country": "JP", "age": {"$gte": 20}}? groups has the members of each group that $inGroup names.';
