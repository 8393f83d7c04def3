-- 60_provision.sql: rights of roles.  One page says who may do what; the rest carries it out, takes it back and shows it.

-- Of tables just the columns that the views show: views run with their
-- reader's rights, and nobody has USAGE on the schema, so nobody can name a table.
CREATE FUNCTION cdp.kind_rights() RETURNS TABLE (kind text, object text, name text, columns text[], privilege text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT k.kind, v.object, v.name, v.columns::text[], CASE v.object WHEN 'function' THEN 'EXECUTE' WHEN 'insert' THEN 'INSERT' WHEN 'update' THEN 'UPDATE' ELSE 'SELECT' END
	FROM (VALUES
		-- what comes in
		('function', 'ingest', NULL, 'ingest app'),
		('function', 'ingest_edges', NULL, 'ingest app'),
		('function', 'track', NULL, 'ingest app'),
		('function', 'identify', NULL, 'ingest app'),
		('function', 'state_preference', NULL, 'ingest app'),
		('function', 'give_feedback', NULL, 'ingest app'),
		('function', 'upsert_profile', NULL, 'ingest app'),
		('function', 'set_consent', NULL, 'ingest app privacy'),
		('function', 'set_jurisdiction', NULL, 'ingest app privacy'),
		('function', 'apply_signal', NULL, 'ingest app privacy'),
		('function', 'retry_rejected', NULL, 'ingest'),
		-- who is who
		('function', 'resolve', NULL, 'ingest app analyst marketer service privacy'),
		('function', 'canonical', NULL, 'app analyst marketer service privacy'),
		('function', 'explain_consent', NULL, 'app analyst service privacy'),
		('function', 'explain_identity', NULL, 'app analyst service privacy'),
		('function', 'explain_trait', NULL, 'app analyst service privacy'),
		('function', 'identity_graph', NULL, 'app analyst service privacy'),
		('function', 'refusal_in_words', NULL, 'app analyst service privacy'),
		('function', 'card', NULL, 'app analyst service privacy'),
		('function', 'merge', NULL, 'app privacy'),
		('function', 'unmerge', NULL, 'privacy'),
		('function', 'unlink', NULL, 'privacy'),
		('function', 'remove_identifier', NULL, 'privacy'),
		-- segments
		('function', 'members', NULL, 'app analyst marketer service privacy'),
		('function', 'segment_count', NULL, 'app analyst marketer service privacy'),
		('function', 'segment_query', NULL, 'app analyst marketer service privacy'),
		('function', 'overlap', NULL, 'app analyst marketer service privacy'),
		('function', 'describe', NULL, 'app analyst marketer service privacy'),
		('function', 'spread_profiles', NULL, 'app analyst marketer service privacy'),
		('function', 'audience_others', NULL, 'app analyst marketer service privacy'),
		('function', 'preview', NULL, 'app analyst marketer service privacy'),
		('function', 'preview_sql', NULL, 'app analyst service privacy'),
		('function', 'preview_rule', NULL, 'app analyst marketer service privacy'),
		('function', 'rule_schema', NULL, 'app analyst marketer service privacy'),
		('function', 'why', NULL, 'app analyst marketer service privacy'),
		-- what goes out
		('function', 'claim', NULL, 'app service'),
		('function', 'ack', NULL, 'app service'),
		-- care and proof
		('function', 'require_init', NULL, 'app analyst marketer service privacy auditor'),
		('function', 'source_stats', NULL, 'privacy'),
		('function', 'verify', NULL, 'privacy'),
		('function', 'rebuild', NULL, 'privacy'),
		('function', 'selfcheck', NULL, 'privacy auditor'),
		('function', 'verify_audit', NULL, 'privacy auditor'),
		('function', 'audit_of', NULL, 'privacy'),
		('function', 'audit', NULL, 'privacy'),
		-- what a person may ask for
		('function', 'export_subject', NULL, 'privacy'),
		('function', 'erase_subject', NULL, 'privacy'),
		('function', 'disclosures', NULL, 'privacy'),
		('function', 'disclosures_json', NULL, 'privacy'),
		('function', 'as_steward', NULL, 'privacy'),
		('function', 'open_request', NULL, 'privacy'),
		('function', 'extend_request', NULL, 'privacy'),
		('function', 'close_request', NULL, 'privacy'),
		('function', 'consent_proof', NULL, 'privacy'),
		('function', 'restrict_subject', NULL, 'privacy'),
		('function', 'subject_id', NULL, 'privacy'),
		('function', 'unsuppress', NULL, 'privacy'),
		('function', 'erasure_list', NULL, 'privacy'),
		('function', 'reapply_erasures', NULL, 'privacy'),

		-- people
		('table', 'profile', '{profile_id,ord,traits}', 'app analyst marketer service privacy'),
		('table', 'profile_state', '{profile_id,ord,events,first_seen,last_seen,segments}', 'app analyst marketer service privacy'),
		('table', 'profile_merged', '{old_id,profile_id,ord}', 'app analyst marketer service privacy'),
		('table', 'node', '{node_id,profile_id,since}', 'app analyst marketer service privacy'),
		('table', 'identifier', '{namespace,value,node_id,first_seen,last_seen,ended}', 'app analyst marketer service privacy'),
		('table', 'identifier', '{key}', 'privacy'),
		('table', 'identifier_retired', '{namespace,value,node_id}', 'app analyst service privacy'),
		('table', 'node_history', '{nodes,profile_id,since,until,until_change}', 'app analyst service privacy'),
		('table', 'identity_edge', '{a,b,rule,ts,last_ts,source,message_id,refused,refused_at}', 'app analyst service privacy'),
		('table', 'identity_merge', '{merge_id,winner,loser,moved_nodes,at,kind,source,message_id,reason,actor,undone_at,undone_by}', 'privacy'),
		('table', 'identity_separation', '{separation_id,kind,merge_id,reason,at,actor,revoked_at,revoked_by}', 'privacy'),
		('table', 'event', '{ts,node_id,received_at,type,name,source,message_id,properties,traits,context,extra}', 'app analyst service privacy'),
		('table', 'segment_history', '{segment_id,ord,profile_id,entered_at,left_at,cause}', 'app analyst marketer service privacy'),
		('table', 'segment_member', '{segment_id,ord,profile_id,since,cause}', 'app analyst marketer service privacy'),
		('table', 'consent_current', '{node_id,purpose_id,state,ts,valid_until,source,channel,basis,notice_id,collection_point,valid_from,jurisdiction}', 'app analyst service privacy'),
		('table', 'consent_log', '{node_id,purpose_id,state,ts,valid_until,source,message_id,message_key,recorded_at,recorded_by,channel,basis,notice_id,collection_point,valid_from,jurisdiction,signal}', 'app analyst service privacy'),
		('table', 'outbox', '{delivery_id,segment_id,channel,purpose_id,profile_id,ord,created_at,state,reason,leased_until,attempts,settled_at}', 'app analyst marketer service privacy'),
		('table', 'list_identifier', '{list_id,import_id,namespace,key,value,valid_until}', 'privacy'),
		('table', 'subject_request', '{request_id,kind,law,received_at,due_at,extended_at,extension_reason,closed_at,outcome,reason,note,recorded_by}', 'privacy'),
		('table', 'erasure', '{erasure_id,erased_at,erased_by,reapplied,receipt}', 'privacy'),
		('table', 'refused_return', '{source,at,times}', 'privacy'),
		('table', 'rejected', '{rejected_at,last_at,times,source,message_id,reason,detail,payload}', 'ingest privacy'),
		('table', 'tracking_violation', '{event,path,rule,mode,times,first_at,last_at,message_id}', 'ingest privacy'),
		-- what is declared
		('table', 'namespace', '{name,rank,max_per_profile,period,on_conflict,blocked,ttl,normaliser}', 'app analyst service privacy auditor'),
		('table', 'segment', '{segment_id,set_id,name,definition,rule,description,created_at,columns,uses,timed,state,version,changed_at,live_from,list_id}', 'app analyst marketer service privacy'),
		('table', 'segment_build', '{segment_id}', 'app analyst marketer service privacy'),
		('table', 'segment_version', '{segment_id,version,definition,rule,valid_from,valid_to}', 'app analyst marketer service privacy'),
		('table', 'segment_error', '{segment_id,last_error,at}', 'app analyst marketer service privacy'),
		('table', 'purpose', '{purpose_id,name,description,created_at}', 'app analyst marketer service privacy auditor'),
		('table', 'audit', '{audit_id,at,xid,session_role,role,client,purpose,clock,action,subject,detail}', 'privacy auditor'),
		('table', 'audit_seal', '{seal,sealed_at,ids,digest}', 'privacy auditor'),
		('table', 'consent_ord', '{purpose_id,ord,valid_to,valid_from,notice_id}', 'privacy'),
		('table', 'notice', '{notice_id,purpose_id,version,required_from}', 'app analyst service privacy auditor'),
		('table', 'channel', '{name,namespace}', 'app analyst service privacy auditor'),
		('table', 'consent_default', '{purpose_id,jurisdiction,allows}', 'app analyst service privacy auditor'),
		('table', 'signal_map', '{map_id,kind,purpose_id,channel,tcf_purposes,special_features,vendor,basis,section,field,grants}', 'app analyst service privacy auditor'),
		('table', 'role_kind', '{role_name,kind}', 'privacy auditor'),
		('table', 'role_purpose', '{role_name,purpose_id}', 'privacy auditor'),
		('table', 'data_map', '{kind,type,event,name,source,rows,total,types,nodes,first_seen,last_seen,personal}', 'app analyst service privacy'),
		('table', 'data_map_personal', '{path,personal}', 'app analyst service privacy'),
		('table', 'event_definition', '{name,mode,schema,changed_at}', 'ingest app analyst service privacy'),
		('table', 'dimension', '{dimension_id,name,path,half_life,short_half_life,declared_half_life,hierarchy_factor,slots,profile_column,top,state,anew,created_at,complete_since}', 'app analyst marketer service privacy'),
		('table', 'action', '{event,weight,property,middle,most}', 'app analyst marketer service privacy'),
		('table', 'item', '{item_id,since,type,name,active,price,url,image,attributes}', 'app analyst marketer service privacy'),
		('table', 'session_rule', '{silence,events,state,changed_at}', 'app analyst service privacy'),
		('table', 'sequence', '{sequence_id,name,did,then_not,same,period,did_filter,then_filter,holds,result,type,state,created_at,complete_since}', 'app analyst marketer service privacy'),
		('table', 'metric', '{metric_id,name,event,aggregate,property,filter,period,type,state,created_at,complete_since}', 'app analyst marketer service privacy'),
		('table', 'trait', '{trait_id,name,type,survivorship,sources,ignore_empty,indexed,description}', 'app analyst marketer service privacy'),
		('table', 'list', '{list_id,purpose_id}', 'privacy'),
		('table', 'import', '{import_id,segment_id,list_id,name,source,mode,rows,rejected,expired,identifiers,matched,imported_at,imported_by}', 'privacy'),
		('table', 'retention', NULL, 'privacy auditor'),
		('table', 'retention_done', NULL, 'privacy auditor'),
		('table', 'message_horizon', NULL, 'privacy auditor'),
		('table', 'task', '{task_id,kind,state,done_rows,total_rows,created_at}', 'ingest app analyst marketer service privacy auditor'),

		('view', 'profiles', NULL, 'app analyst marketer service privacy'),
		('view', 'merged_profiles', NULL, 'app analyst marketer service privacy'),
		('view', 'identifiers', NULL, 'app analyst service privacy'),
		('view', 'events', NULL, 'app analyst service privacy'),
		('view', 'sessions', NULL, 'app analyst service privacy'),
		('view', 'segments', NULL, 'app analyst marketer service privacy'),
		('view', 'segment_members', NULL, 'app analyst marketer service privacy'),
		('view', 'segment_history', NULL, 'app analyst marketer service privacy'),
		('view', 'segment_versions', NULL, 'app analyst marketer service privacy'),
		('view', 'consents', NULL, 'app analyst service privacy'),
		('view', 'consent_log', NULL, 'app analyst service privacy'),
		('view', 'consent_flags', NULL, 'app analyst service privacy'),
		('view', 'consent_stats', NULL, 'app analyst service privacy'),
		('view', 'withdrawals', NULL, 'app analyst service privacy'),
		('view', 'notices', NULL, 'app analyst service privacy auditor'),
		('view', 'channels', NULL, 'app analyst service privacy auditor'),
		('view', 'jurisdictions', NULL, 'app analyst service privacy'),
		('view', 'consent_defaults', NULL, 'app analyst service privacy auditor'),
		('view', 'signal_map', NULL, 'app analyst service privacy auditor'),
		('view', 'purpose_reach', NULL, 'privacy'),
		('view', 'outbox', NULL, 'app analyst marketer service privacy'),
		('view', 'purposes', NULL, 'app analyst marketer service privacy auditor'),
		('view', 'traits', NULL, 'app analyst marketer service privacy'),
		('view', 'metrics', NULL, 'app analyst marketer service privacy'),
		('view', 'affinities', NULL, 'app analyst marketer service privacy'),
		('view', 'dimensions', NULL, 'app analyst marketer service privacy'),
		('view', 'actions', NULL, 'app analyst marketer service privacy'),
		('view', 'item', NULL, 'app analyst marketer service privacy'),
		('view', 'sequences', NULL, 'app analyst marketer service privacy'),
		('view', 'session_rule', NULL, 'app analyst service privacy'),
		('view', 'data_map', NULL, 'app analyst service privacy'),
		('view', 'identity_edges', NULL, 'app analyst service privacy'),
		('view', 'identity_history', NULL, 'app analyst service privacy'),
		('view', 'identity_conflicts', NULL, 'app analyst service privacy'),
		('view', 'namespaces', NULL, 'app analyst service privacy auditor'),
		('view', 'event_definitions', NULL, 'ingest app analyst service privacy'),
		('view', 'merges', NULL, 'privacy'),
		('view', 'separations', NULL, 'privacy'),
		('view', 'imports', NULL, 'privacy'),
		('view', 'imported_identifiers', NULL, 'privacy'),
		('view', 'subject_requests', NULL, 'privacy'),
		('view', 'request_figures', NULL, 'privacy'),
		('view', 'erasures', NULL, 'privacy'),
		('view', 'refused_returns', NULL, 'privacy'),
		('view', 'retention', NULL, 'privacy auditor'),
		('view', 'rejected', NULL, 'ingest privacy'),
		('view', 'tracking_violations', NULL, 'ingest privacy'),
		('view', 'stats', NULL, 'privacy'),
		('view', 'rights', NULL, 'privacy auditor'),
		('view', 'audit_log', NULL, 'privacy auditor'),
		('view', 'audit_seals', NULL, 'privacy auditor'),
		('view', 'progress', NULL, 'ingest app analyst marketer service privacy auditor'),
		('insert', 'inbox', NULL, 'ingest app'),
		('update', 'profiles', NULL, 'app'),
		('update', 'consent_flags', '{allowed,valid_until,basis,notice}', 'privacy')) v (object, name, columns, kinds)
	CROSS JOIN LATERAL unnest(string_to_array(v.kinds, ' ')) k (kind);
END $$;
COMMENT ON FUNCTION cdp.kind_rights() IS
'What each kind of role may do: functions and views of schema cdp, and the columns of cdp_data that the views show. object is function, table, view, insert or update.';

CREATE FUNCTION cdp.provision(role regrole, kind text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	r record;
	t record;
	who text := (SELECT x.rolname FROM pg_roles x WHERE x.oid = role);
BEGIN
	PERFORM cdp.require_admin();
	IF role IS NULL OR who IS NULL THEN
		RAISE undefined_object USING MESSAGE = 'role does not exist';
	END IF;
	IF kind IS NULL OR NOT EXISTS (SELECT FROM cdp.kind_rights() x WHERE x.kind = provision.kind) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('kind %s is unknown', coalesce(quote_literal(kind), 'NULL')),
			HINT = 'Kinds are ingest, app, analyst, marketer, service, privacy and auditor.';
	END IF;
	IF role = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data') THEN
		RAISE invalid_role_specification USING
			MESSAGE = format('role %I owns the storage and is nobody''s to work with', who);
	END IF;
	-- grants on one object at the same time fail; the key is that of cdp.init()
	PERFORM pg_advisory_xact_lock('cdp.version'::regproc::oid::bigint);
	INSERT INTO cdp_data.role_kind (role_name, kind) VALUES (who, provision.kind) ON CONFLICT DO NOTHING;

	FOR r IN SELECT x.object, x.name, x.columns, x.privilege FROM cdp.kind_rights() x WHERE x.kind = provision.kind AND x.object <> 'function' LOOP
		EXECUTE format('GRANT %s %s ON %I.%I TO %I', r.privilege, '(' || (SELECT string_agg(quote_ident(c), ', ' ORDER BY o) FROM unnest(r.columns) WITH ORDINALITY u (c, o)) || ')',
			CASE r.object WHEN 'table' THEN 'cdp_data' ELSE 'cdp' END, r.name, who);
		IF r.object = 'table' AND r.name = 'profile' THEN
			FOR t IN SELECT d.name FROM cdp_data.trait d LOOP
				EXECUTE format('GRANT SELECT (%I) ON cdp_data.profile TO %I', t.name, who);
			END LOOP;
		END IF;
	END LOOP;
	FOR r IN SELECT p.oid::regprocedure AS sig FROM pg_proc p JOIN cdp.kind_rights() x ON x.name = p.proname
			WHERE p.pronamespace = 'cdp'::regnamespace AND x.kind = provision.kind AND x.object = 'function' LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', r.sig, who);
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.provision(regrole, text) IS
'Gives a role the least rights for its work: ingest, app, analyst, marketer, service, privacy or auditor. Whom it may see is another matter: cdp.permit().';

CREATE FUNCTION cdp.deprovision(role regrole, kind text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	r record;
	who text := (SELECT x.rolname FROM pg_roles x WHERE x.oid = role);
BEGIN
	PERFORM cdp.require_admin();
	IF role IS NULL OR who IS NULL THEN
		RAISE undefined_object USING MESSAGE = 'role does not exist';
	END IF;
	IF kind IS NOT NULL AND NOT EXISTS (SELECT FROM cdp.kind_rights() x WHERE x.kind = deprovision.kind) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('kind %s is unknown', quote_literal(kind)),
			HINT = 'Kinds are ingest, app, analyst, marketer, service, privacy and auditor; without one, all are taken.';
	END IF;
	IF role = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data') OR (SELECT x.rolsuper FROM pg_roles x WHERE x.oid = role) THEN
		RAISE invalid_role_specification USING
			MESSAGE = format('role %I owns the storage or is a superuser: no right can be taken from it', who);
	END IF;
	PERFORM pg_advisory_xact_lock('cdp.version'::regproc::oid::bigint);
	DELETE FROM cdp_data.role_kind k WHERE k.role_name = who AND k.kind = coalesce(deprovision.kind, k.kind);
	IF kind IS NULL THEN
		DELETE FROM cdp_data.role_purpose p WHERE p.role_name = who;
	END IF;

	-- All it has, whoever gave it; what its other kinds need comes back below.
	FOR r IN SELECT p.oid::regprocedure AS sig FROM pg_proc p
			WHERE p.pronamespace = 'cdp'::regnamespace AND EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = role) LOOP
		EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %I CASCADE', r.sig, who);
	END LOOP;
	FOR r IN SELECT c.oid::regclass AS rel, c.relkind FROM pg_class c
			WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace)
				AND (EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = role)
					OR EXISTS (SELECT FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND a.grantee = role)) LOOP
		EXECUTE format('REVOKE ALL ON %s %s FROM %I CASCADE', CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, r.rel, who);
	END LOOP;
	EXECUTE format('REVOKE ALL ON SCHEMA cdp, cdp_data FROM %I CASCADE', who);
	FOR r IN SELECT k.kind FROM cdp_data.role_kind k WHERE k.role_name = who ORDER BY k.kind LOOP
		PERFORM cdp.provision(role, r.kind);
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.deprovision(regrole, text) IS
'Takes back what cdp.provision() gave for a kind, and whatever else the role was granted on objects of cdp; without a kind all kinds and purposes. Run it before DROP ROLE.';

-- Part of the step of views.
CREATE FUNCTION cdp.install_rights() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.rights WITH (security_invoker = true) AS
	SELECT r.rolname::text AS role, r.rolcanlogin AS can_login, x.kinds, x.purposes, x.through,
		CASE WHEN x.exempt THEN 'everybody'
			WHEN cardinality(x.purposes) = 0 THEN 'nobody'
			WHEN cardinality(x.purposes) > 32 THEN 'nobody until cdp.purpose narrows it to 32 purposes'
			ELSE 'who allows ' || array_to_string(x.purposes, ' and ') END AS sees,
		CASE WHEN NOT r.rolsuper AND NOT x.owner THEN ARRAY(SELECT DISTINCT p.proname::text FROM pg_proc p
			WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile <> 'i' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
				AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) ORDER BY 1) END AS functions,
		CASE WHEN NOT r.rolsuper AND NOT x.owner THEN ARRAY(SELECT c.relname::text FROM pg_class c
			WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('v', 'm', 'r', 'f') AND has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1) END AS views
	FROM pg_roles r CROSS JOIN LATERAL (
		SELECT ARRAY(SELECT DISTINCT k.kind::text FROM cdp_data.role_kind k JOIN pg_roles o ON o.rolname = k.role_name
				WHERE o.oid = r.oid OR NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'USAGE') ORDER BY 1) AS kinds,
			ARRAY(SELECT DISTINCT p.name::text FROM cdp_data.role_purpose g JOIN cdp_data.purpose p ON p.purpose_id = g.purpose_id JOIN pg_roles o ON o.rolname = g.role_name
				WHERE o.oid = r.oid OR NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'USAGE') ORDER BY 1) AS purposes,
			ARRAY(SELECT o.rolname::text FROM pg_roles o WHERE o.oid <> r.oid AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'USAGE')
				AND (EXISTS (SELECT FROM cdp_data.role_kind k WHERE k.role_name = o.rolname) OR EXISTS (SELECT FROM cdp_data.role_purpose g WHERE g.role_name = o.rolname)) ORDER BY 1) AS through,
			r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, n.nspowner, 'USAGE') AS exempt, r.oid = n.nspowner AS owner
		FROM pg_namespace n WHERE n.nspname = 'cdp_data') x
	WHERE x.exempt OR cardinality(x.kinds) > 0 OR cardinality(x.purposes) > 0;
	COMMENT ON VIEW cdp.rights IS 'Who may do and see what: every role with a kind or a purpose, of its own or as a member of another, and those whom policies do not stop.';
	COMMENT ON COLUMN cdp.rights.kinds IS 'As what it was provisioned, itself or a role whose rights it has.';
	COMMENT ON COLUMN cdp.rights.through IS 'Roles that were provisioned or permitted, and whose rights it has as a member.';
	COMMENT ON COLUMN cdp.rights.sees IS 'Whom it sees: who allows all of its purposes; everybody, for superusers, BYPASSRLS and the owner.';
	COMMENT ON COLUMN cdp.rights.functions IS 'Functions of schema cdp that it may call and not everybody may, granted or through its roles; null for superusers and the owner, who may call all.';
	COMMENT ON COLUMN cdp.rights.views IS 'Views of schema cdp that it may read; null for superusers and the owner.';
END $$;
COMMENT ON FUNCTION cdp.install_rights() IS 'Part of cdp.init(): the view cdp.rights.';
