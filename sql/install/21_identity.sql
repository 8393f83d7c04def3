-- 21_identity.sql: who is this.  Identifiers, nodes, merges and their reasons.

CREATE FUNCTION cdp.install_identity() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE SEQUENCE cdp_data.node_id_seq;
	CREATE SEQUENCE cdp_data.profile_id_seq;
	CREATE SEQUENCE cdp_data.merge_id_seq;
	CREATE SEQUENCE cdp_data.ord_seq AS int MINVALUE 0 START 0;

	-- One row per identifier ever seen.  key is a 128-bit hash of version,
	-- installation seed, namespace and value; value is compared after a hit.
	CREATE TABLE cdp_data.identifier (
		namespace	text COLLATE "C" NOT NULL,
		key			uuid NOT NULL,
		value		text COLLATE "C" NOT NULL,
		node_id		bigint NOT NULL,
		first_seen	timestamptz NOT NULL,
		last_seen	timestamptz NOT NULL,
		PRIMARY KEY (namespace, key)
	) WITH (fillfactor = 85);
	CREATE UNIQUE INDEX identifier_node ON cdp_data.identifier (node_id);

	-- The graph, flat: which person a node belongs to now.
	CREATE TABLE cdp_data.node (
		node_id		bigint PRIMARY KEY,
		profile_id	bigint NOT NULL
	) WITH (fillfactor = 90);
	CREATE INDEX node_profile ON cdp_data.node (profile_id);

	-- Why two nodes are one person: the earliest message that named both.
	CREATE TABLE cdp_data.identity_edge (
		a			bigint NOT NULL,
		b			bigint NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		source		text NOT NULL,
		message_id	text NOT NULL,
		PRIMARY KEY (a, b),
		CHECK (a < b)
	);
	CREATE INDEX identity_edge_b ON cdp_data.identity_edge (b);

	CREATE TABLE cdp_data.identity_merge (
		merge_id	bigint PRIMARY KEY,
		winner		bigint NOT NULL,
		loser		bigint NOT NULL,
		loser_ord	int NOT NULL,
		moved_nodes	bigint[] NOT NULL,
		at			timestamptz NOT NULL,
		source		text NOT NULL,
		message_id	text NOT NULL
	);
	CREATE INDEX identity_merge_winner ON cdp_data.identity_merge (winner);

	-- Ids that were merged away keep resolving.
	CREATE TABLE cdp_data.profile_merged (
		old_id		bigint PRIMARY KEY,
		old_ord		int NOT NULL,
		profile_id	bigint NOT NULL,
		ord			int NOT NULL,
		merge_id	bigint NOT NULL
	);
	CREATE INDEX profile_merged_profile ON cdp_data.profile_merged (profile_id);
END $$;
COMMENT ON FUNCTION cdp.install_identity() IS 'Step of cdp.init(): tables of the identity graph.';
