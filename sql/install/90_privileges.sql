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

CREATE FUNCTION cdp.provision(role regrole, kind text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	f record;
	t record;
	who text := (SELECT r.rolname FROM pg_roles r WHERE r.oid = role);
	functions text[];
BEGIN
	PERFORM cdp.require_admin();
	IF role IS NULL OR who IS NULL THEN
		RAISE undefined_object USING MESSAGE = 'role does not exist';
	END IF;
	functions := CASE kind
		WHEN 'ingest' THEN '{ingest,ingest_edges,track,identify,state_preference,give_feedback,set_consent,set_jurisdiction,apply_signal,resolve,upsert_profile,retry_rejected}'::text[]
		WHEN 'app' THEN '{ingest,ingest_edges,track,identify,state_preference,give_feedback,card,set_consent,set_jurisdiction,apply_signal,upsert_profile,merge,resolve,canonical,explain_consent,explain_identity,explain_trait,identity_graph,refusal_in_words,claim,ack,members,segment_count,segment_query,overlap,describe,spread_profiles,audience_others,preview,preview_sql,preview_rule,rule_schema,why,require_init}'
		WHEN 'analyst' THEN '{card,resolve,canonical,explain_consent,explain_identity,explain_trait,identity_graph,refusal_in_words,members,segment_count,segment_query,overlap,describe,spread_profiles,audience_others,preview,preview_sql,preview_rule,rule_schema,why,require_init}'
		WHEN 'service' THEN '{card,resolve,canonical,explain_consent,explain_identity,explain_trait,identity_graph,refusal_in_words,members,segment_count,segment_query,overlap,describe,spread_profiles,audience_others,preview,preview_sql,preview_rule,rule_schema,why,claim,ack,require_init}'
		WHEN 'privacy' THEN '{export_subject,erase_subject,disclosures,disclosures_json,as_steward,open_request,extend_request,close_request,consent_proof,restrict_subject,subject_id,unsuppress,erasure_list,reapply_erasures,card,source_stats,resolve,canonical,explain_consent,explain_identity,explain_trait,identity_graph,refusal_in_words,set_consent,set_jurisdiction,apply_signal,merge,unmerge,unlink,remove_identifier,verify,rebuild,members,segment_count,segment_query,overlap,describe,spread_profiles,audience_others,preview,preview_sql,preview_rule,rule_schema,why,require_init}' END;
	IF functions IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('kind %s is unknown', coalesce(quote_literal(kind), 'NULL')),
			HINT = 'Kinds are ingest, app, analyst, service and privacy.';
	END IF;
	INSERT INTO cdp_data.role_kind (role_name, kind) VALUES (who, provision.kind) ON CONFLICT DO NOTHING;

	FOR f IN SELECT p.oid::regprocedure AS sig FROM pg_proc p
			 WHERE p.pronamespace = 'cdp'::regnamespace AND p.proname = ANY (functions) LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f.sig, who);
	END LOOP;

	-- Views, and of the tables under them just the columns they show; never
	-- USAGE on the schema, so that nobody can name a table.
	IF kind IN ('app', 'analyst', 'service', 'privacy') THEN
		FOR t IN SELECT * FROM (VALUES
				('profile', '{profile_id,ord,traits}'::text[]),
				('profile_state', '{profile_id,ord,events,first_seen,last_seen,segments}'),
				('node', '{node_id,profile_id,since}'),
				('identifier_retired', '{namespace,value,node_id}'),
				('node_history', '{nodes,profile_id,since,until,until_change}'),
				('identity_edge', '{a,b,rule,ts,last_ts,source,message_id,refused,refused_at}'),
				('namespace', '{name,rank,max_per_profile,period,on_conflict,blocked,ttl,normaliser}'),
				('identifier', '{namespace,value,node_id,first_seen,last_seen,ended}'),
				('event', '{ts,node_id,received_at,type,name,source,message_id,properties,traits,context,extra}'),
				('segment', '{segment_id,set_id,name,definition,rule,description,created_at,columns,uses,timed,state,version,changed_at,live_from,list_id}'),
				('segment_build', '{segment_id}'),
				('segment_version', '{segment_id,version,definition,rule,valid_from,valid_to}'),
				('segment_history', '{segment_id,ord,profile_id,entered_at,left_at,cause}'),
				('segment_error', '{segment_id,last_error,at}'),
				('segment_member', '{segment_id,ord,profile_id,since,cause}'),
				('purpose', '{purpose_id,name,description,created_at}'),
				('consent_current', '{node_id,purpose_id,state,ts,valid_until,source,channel,basis,notice_id,collection_point,valid_from,jurisdiction}'),
				('consent_log', '{node_id,purpose_id,state,ts,valid_until,source,message_id,message_key,recorded_at,recorded_by,channel,basis,notice_id,collection_point,valid_from,jurisdiction,signal}'),
				('notice', '{notice_id,purpose_id,version,required_from}'),
				('channel', '{name,namespace}'),
				('consent_default', '{purpose_id,jurisdiction,allows}'),
				('signal_map', '{map_id,kind,purpose_id,channel,tcf_purposes,special_features,vendor,basis,section,field,grants}'),
				('outbox', '{delivery_id,segment_id,channel,purpose_id,profile_id,ord,created_at,state,reason,leased_until,attempts,settled_at}'),
				('profile_merged', '{old_id,profile_id,ord}'),
				('data_map', '{kind,type,event,name,source,rows,total,types,nodes,first_seen,last_seen,personal}'),
				('data_map_personal', '{path,personal}'),
				('event_definition', '{name,mode,schema,changed_at}'),
				('dimension', '{dimension_id,name,path,half_life,short_half_life,declared_half_life,hierarchy_factor,slots,profile_column,top,state,anew,created_at,complete_since}'),
				('action', '{event,weight,property,middle,most}'),
				('item', '{item_id,since,type,name,active,price,url,image,attributes}'),
				('session_rule', '{silence,events,state,changed_at}'),
				('sequence', '{sequence_id,name,did,then_not,same,period,did_filter,then_filter,holds,result,type,state,created_at,complete_since}'),
				('metric', '{metric_id,name,event,aggregate,property,filter,period,type,state,created_at,complete_since}'),
				('trait', '{trait_id,name,type,survivorship,sources,ignore_empty,indexed,description}')) v (tbl, cols) LOOP
			EXECUTE format('GRANT SELECT (%s) ON cdp_data.%I TO %I',
						   (SELECT string_agg(quote_ident(c), ', ') FROM unnest(t.cols) c), t.tbl, who);
		END LOOP;
		FOR t IN SELECT d.name FROM cdp_data.trait d LOOP
			EXECUTE format('GRANT SELECT (%I) ON cdp_data.profile TO %I', t.name, who);
		END LOOP;
		EXECUTE format('GRANT SELECT ON cdp.profiles, cdp.identifiers, cdp.events, cdp.segments, cdp.segment_members, cdp.segment_history, cdp.segment_versions, cdp.consents, '
					   'cdp.consent_log, cdp.consent_flags, cdp.consent_stats, cdp.withdrawals, cdp.notices, cdp.channels, cdp.jurisdictions, cdp.consent_defaults, cdp.signal_map, cdp.outbox, cdp.merged_profiles, cdp.purposes, cdp.traits, cdp.metrics, cdp.affinities, cdp.dimensions, cdp.actions, cdp.item, cdp.sequences, cdp.sessions, cdp.session_rule, cdp.data_map, '
					   'cdp.identity_edges, cdp.identity_history, cdp.identity_conflicts, cdp.namespaces, cdp.event_definitions TO %I', who);
	END IF;
	IF kind = 'privacy' THEN
		EXECUTE format('GRANT SELECT (list_id, import_id, namespace, key, value, valid_until) ON cdp_data.list_identifier TO %I', who);
		EXECUTE format('GRANT SELECT (list_id, purpose_id) ON cdp_data.list TO %I', who);
		EXECUTE format('GRANT SELECT (import_id, segment_id, list_id, name, source, mode, rows, rejected, expired, identifiers, matched, imported_at, imported_by) ON cdp_data.import TO %I', who);
		EXECUTE format('GRANT SELECT (key) ON cdp_data.identifier TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp.imports, cdp.imported_identifiers TO %I', who);
		EXECUTE format('GRANT SELECT (merge_id, winner, loser, moved_nodes, at, kind, source, message_id, reason, actor, undone_at, undone_by) ON cdp_data.identity_merge TO %I', who);
		EXECUTE format('GRANT SELECT (separation_id, kind, merge_id, reason, at, actor, revoked_at, revoked_by) ON cdp_data.identity_separation TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp.merges, cdp.separations TO %I', who);
		EXECUTE format('GRANT SELECT (purpose_id, ord, valid_to, valid_from, notice_id) ON cdp_data.consent_ord TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp.purpose_reach TO %I', who);
		EXECUTE format('GRANT UPDATE (allowed, valid_until, basis, notice) ON cdp.consent_flags TO %I', who);
		EXECUTE format('GRANT SELECT (request_id, kind, law, received_at, due_at, extended_at, extension_reason, closed_at, outcome, reason, note, recorded_by) ON cdp_data.subject_request TO %I', who);
		EXECUTE format('GRANT SELECT (erasure_id, erased_at, erased_by, reapplied, receipt) ON cdp_data.erasure TO %I', who);
		EXECUTE format('GRANT SELECT (source, at, times) ON cdp_data.refused_return TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp.subject_requests, cdp.request_figures, cdp.erasures, cdp.refused_returns TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp_data.retention, cdp_data.retention_done, cdp_data.message_horizon, cdp.retention TO %I', who);
	END IF;
	IF kind IN ('ingest', 'app') THEN
		EXECUTE format('GRANT INSERT ON cdp.inbox TO %I', who);
	END IF;
	IF kind = 'app' THEN
		EXECUTE format('GRANT UPDATE ON cdp.profiles TO %I', who);
	END IF;
	EXECUTE format('GRANT SELECT (task_id, kind, state, done_rows, total_rows, created_at) ON cdp_data.task TO %I', who);
	EXECUTE format('GRANT SELECT ON cdp.progress TO %I', who);
	IF kind = 'privacy' THEN
		EXECUTE format('GRANT SELECT ON cdp.stats TO %I', who);
	END IF;
	IF kind IN ('ingest', 'privacy') THEN
		EXECUTE format('GRANT SELECT (rejected_at, last_at, times, source, message_id, reason, detail, payload) ON cdp_data.rejected TO %I', who);
		EXECUTE format('GRANT SELECT (event, path, rule, mode, times, first_at, last_at, message_id) ON cdp_data.tracking_violation TO %I', who);
		EXECUTE format('GRANT SELECT (name, mode, schema, changed_at) ON cdp_data.event_definition TO %I', who);
		EXECUTE format('GRANT SELECT ON cdp.rejected, cdp.tracking_violations, cdp.event_definitions TO %I', who);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.provision(regrole, text) IS
'Gives a role the least rights for its work: ingest, app, analyst, service or privacy. Whom it may see is another matter: cdp.permit().';
REVOKE ALL ON FUNCTION cdp.provision(regrole, text) FROM PUBLIC;
