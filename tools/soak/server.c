/*
 * tools/soak/server.c
 *		Operations on the server, and its state against the model's.
 */
#include "server.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PGconn *conn;
static char *target;
static char *invariants;
static int64_t last_change;
bool compare_words;

#define INT64(res, r, c) strtoll(PQgetvalue(res, r, c), NULL, 10)

/* Statements that every connection prepares. */
static const char *const prepare_sql =
	"SET timezone = 'UTC'; SET client_min_messages = warning; SET jit = off;"
	"PREPARE moved_nodes (bigint) AS SELECT n.node_id, n.profile_id, i.name FROM cdp_data.node n "
	"CROSS JOIN LATERAL (SELECT i.namespace || ':' || i.value AS name FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id UNION ALL SELECT r.namespace || ':' || r.value "
	"  FROM cdp_data.identifier_retired r WHERE r.node_id = n.node_id) i "
	"WHERE n.change > $1 ORDER BY n.node_id;"
	"PREPARE new_merges (bigint) AS SELECT m.merge_id, m.winner, m.loser, m.moved_nodes "
	"FROM cdp_data.identity_merge m WHERE m.merge_id > $1 ORDER BY m.merge_id;";

/* As tools/soak/README.md says what is compared. */
static const char *const setup_sql =
	"CREATE EXTENSION IF NOT EXISTS cdp; SELECT count(*) FROM cdp.init();"
	"SELECT cdp.define_trait('city'), cdp.define_trait('first_store', 'text', 'oldest')"
	"  WHERE NOT EXISTS (SELECT FROM cdp_data.trait);"
	"SELECT cdp.define_purpose('marketing') WHERE NOT EXISTS (SELECT FROM cdp_data.purpose);"
	"SELECT cdp.define_segment('busy', predicate => 'events >= 4'),"
	"  cdp.define_segment('kyoto', predicate => 'city = ''Kyoto''')"
	"  WHERE NOT EXISTS (SELECT FROM cdp_data.segment);";

static const char *const reset_sql =
	"TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge,"
	"  cdp_data.profile_merged, cdp_data.profile, cdp_data.profile_state, cdp_data.event,"
	"  cdp_data.message_seen, cdp_data.rejected, cdp_data.segment_member, cdp_data.segment_before,"
	"  cdp_data.segment_chunk, cdp_data.segment_delta,"
	"  cdp_data.segment_error, cdp_data.node_history, cdp_data.identifier_retired,"
	"  cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox,"
	"  cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord,"
	"  cdp_data.consent_node RESTART IDENTITY;"
	"DELETE FROM cdp_data.task; ALTER SEQUENCE cdp_data.node_id_seq RESTART; ALTER SEQUENCE "
	"cdp_data.profile_id_seq RESTART;"
	"ALTER SEQUENCE cdp_data.merge_id_seq RESTART; ALTER SEQUENCE cdp_data.ord_seq RESTART;";

static char *
copy(const char *s)
{
	char *c = strdup(s);

	if (c == NULL)
		die("out of memory");
	return c;
}

static void
run(const char *sql)
{
	PGresult *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		die("%s\n%s", PQerrorMessage(conn), sql);
	PQclear(res);
}

static void
start(void)
{
	if (conn)
		PQfinish(conn);
	conn = PQconnectdb(target);
	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
}

static char *
read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = calloc(1, 1 << 20);

	if (f == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, f) == 0)
		die("cannot read %s", path);
	fclose(f);
	return text;
}

/* Connects and prepares a database; path: docs/invariants.sql. */
void
server_open(const char *conninfo, const char *path)
{
	target = copy(conninfo);
	invariants = read_file(path);
	start();
	run(setup_sql);
	run(prepare_sql);
}

/* Empties the storage and sets a world's rules. */
void
server_reset(const World *w)
{
	if (PQstatus(conn) != CONNECTION_OK)
	{
		start();
		run(prepare_sql);
	}
	run(reset_sql);
	run(rules_sql(&w->rules));
	last_change = 0;
}

bool
server_alive(void)
{
	return PQstatus(conn) == CONNECTION_OK;
}

static void
read_nodes(const World *w, PGresult *res, Answer *answer)
{
	static NodeRow rows[MAX_NODES];

	answer->nnodes = PQntuples(res);
	answer->node = rows;
	if (answer->nnodes > MAX_NODES)
		die("too many nodes");
	for (int r = 0; r < answer->nnodes; r++)
		rows[r] = (NodeRow){INT64(res, r, 0), INT64(res, r, 1),
							ident_read(&w->rules, PQgetvalue(res, r, 2))};
}

static void
read_merges(PGresult *res, Answer *answer)
{
	static MergeRow rows[MAX_NODES];
	static int64_t moved[MAX_NODES * 4];
	int n = 0;

	answer->nmerges = PQntuples(res);
	answer->merge = rows;
	if (answer->nmerges > MAX_NODES)
		die("too many merges");
	for (int r = 0; r < answer->nmerges; r++)
	{
		const char *p = PQgetvalue(res, r, 3) + 1;

		rows[r] = (MergeRow){INT64(res, r, 0), INT64(res, r, 1), INT64(res, r, 2), 0, moved + n};
		while (*p >= '0' && *p <= '9')
		{
			char *end;

			if (n == MAX_NODES * 4)
				die("too many nodes are moved");
			moved[n++] = strtoll(p, &end, 10);
			rows[r].nmoved++;
			p = *end == ',' ? end + 1 : end;
		}
	}
}

static void
read_values(PGresult *res, Answer *answer)
{
	answer->nvalues = PQntuples(res);
	for (int r = 0; r < answer->nvalues && r < MAX_BATCH; r++)
	{
		ValueRow *v = &answer->value[r];

		v->null = PQgetisnull(res, r, 0);
		v->value = v->null ? 0 : INT64(res, r, 0);
		snprintf(v->status, sizeof(v->status), "%s",
				 PQnfields(res) > 1 ? PQgetvalue(res, r, 1) : "");
	}
}

static Answer answer;

/* Sends statements and reads what they return: values, nodes, merges, the last change. */
static void
exchange(const World *w, const char *text, int skip)
{
	PGresult *res;
	int n = skip;

	if (!PQsendQuery(conn, text))
		snprintf(answer.sqlstate, sizeof(answer.sqlstate), "08006");
	while ((res = PQgetResult(conn)) != NULL)
	{
		ExecStatusType status = PQresultStatus(res);
		const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

		if (status == PGRES_TUPLES_OK)
		{
			n++;
			if (n == 1)
				read_values(res, &answer);
			else if (n == 2)
				read_nodes(w, res, &answer);
			else if (n == 3)
				read_merges(res, &answer);
			else
				last_change = INT64(res, 0, 0);
		}
		else if (status != PGRES_COMMAND_OK)
		{
			snprintf(answer.sqlstate, sizeof(answer.sqlstate), "%s", state ? state : "08006");
			snprintf(answer.error, sizeof(answer.error), "%s", PQresultErrorMessage(res));
		}
		PQclear(res);
	}
}

/* What an operation did, by the numbers of changes. */
static const char *const what_changed =
	"EXECUTE moved_nodes(%ld); EXECUTE new_merges(%ld); "
	"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM cdp_data.merge_id_seq";

/* Carries out a statement at a time; says what it returned and which nodes moved. */
const Answer *
server_do(const World *w, Time now, const char *sql)
{
	static char *text;
	static size_t room;
	size_t size = strlen(sql) + 400;
	int n;

	if (size > room)
		text = realloc(text, room = size * 2);
	if (text == NULL)
		die("out of memory");
	n = snprintf(text, room, "SET cdp.clock = '%s'; %s; ", time_text(now), sql);
	snprintf(text + n, room - n, what_changed, (long) last_change, (long) last_change);
	memset(&answer, 0, sizeof(answer));
	exchange(w, text, 0);
	return &answer;
}

/* The same for statements with a line end each that commit by themselves. */
const Answer *
server_change(const World *w, Time now, const char *sql)
{
	char text[400];
	char *copy_of = copy(sql);
	char *next;

	memset(&answer, 0, sizeof(answer));
	snprintf(text, sizeof(text), "SET cdp.clock = '%s'", time_text(now));
	run(text);
	for (char *statement = copy_of; statement != NULL; statement = next)
	{
		PGresult *res;

		next = strstr(statement, ";\n");
		if (next != NULL)
		{
			*next = '\0';
			next += 2;
		}
		res = PQexec(conn, statement);
		if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		{
			const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

			snprintf(answer.sqlstate, sizeof(answer.sqlstate), "%s", state ? state : "08006");
			snprintf(answer.error, sizeof(answer.error), "%s", PQresultErrorMessage(res));
		}
		PQclear(res);
	}
	free(copy_of);
	snprintf(text, sizeof(text), what_changed, (long) last_change, (long) last_change);
	exchange(w, text, 1);
	return &answer;
}

/* -- the complete state -- */

static PGresult *
query(const char *sql)
{
	PGresult *res = PQexec(conn, sql);

	if (PQresultStatus(res) != PGRES_TUPLES_OK)
		die("%s\n%s", PQerrorMessage(conn), sql);
	return res;
}


static bool
compare_nodes(const Model *m)
{
	PGresult *res = query(
		"SELECT n.node_id, n.profile_id, i.name, (extract(epoch FROM i.first_seen) * "
		"1000000)::bigint, (extract(epoch FROM i.last_seen) * 1000000)::bigint, "
		"  coalesce((extract(epoch FROM i.ended) * 1000000)::bigint, 0) "
		"FROM cdp_data.node n JOIN (SELECT node_id, namespace || ':' || value AS name, first_seen, "
		"  last_seen, ended FROM cdp_data.identifier UNION ALL SELECT node_id, namespace || ':' "
		"|| value, "
		"  first_seen, last_seen, ended FROM cdp_data.identifier_retired) i USING (node_id)");
	int n = PQntuples(res);
	bool same = true;

	if (n != m->nnodes)
		same = complain("nodes: %d, not %d", n, m->nnodes);
	for (int r = 0; r < n && same; r++)
	{
		int i = node_by_id(m, INT64(res, r, 0));
		const Node *node = &m->node[i];

		if (i < 0 || node->ident != ident_read(&m->rules, PQgetvalue(res, r, 2)))
			same = complain("nodes: %s is %s", PQgetvalue(res, r, 0), PQgetvalue(res, r, 2));
		else if (node->person != INT64(res, r, 1))
			same = complain("nodes: %s is of profile %s, not %ld", PQgetvalue(res, r, 2),
							PQgetvalue(res, r, 1),
							(long) node->person);
		else if (node->first != INT64(res, r, 3) || node->last != INT64(res, r, 4))
			same = complain("seen: %s was seen from %s to %s, not from %s to %s",
							PQgetvalue(res, r, 2),
							time_text(INT64(res, r, 3)), time_text(INT64(res, r, 4)),
							time_text(node->first), time_text(node->last));
		else if ((node->ended == NEVER ? 0 : node->ended) != INT64(res, r, 5))
			same = complain("seen: %s ended %s", PQgetvalue(res, r, 2), PQgetvalue(res, r, 5));
	}
	PQclear(res);
	return same;
}

/* What a person's events and consents come to. */
typedef struct Fold
{
	long events;
	Time first;
	Time last;
	Time trait_at[TRAITS];
	int trait[TRAITS];
	bool consents;
	bool refuses;
} Fold;

static Fold
fold(const Model *m, int64_t person)
{
	Fold f = {0};

	for (int e = 0; e < m->nevents; e++)
	{
		const Event *event = &m->event[e];

		if (m->node[event->node].person != person)
			continue;
		if (f.events++ == 0)
			f.first = f.last = event->at;
		f.first = event->at < f.first ? event->at : f.first;
		f.last = event->at > f.last ? event->at : f.last;
		for (int t = 0; t < TRAITS; t++)
		{
			/* the second is what was said first, the others what was said last */
			bool wins = f.trait[t] == 0 || (t == 1) == (event->at < f.trait_at[t]);

			if (event->trait[t] == 0 || !wins)
				continue;
			f.trait[t] = event->trait[t];
			f.trait_at[t] = event->at;
		}
	}
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].person == person && m->node[i].consent != 0)
		{
			f.consents = true;
			f.refuses |= m->node[i].consent == 2;
		}
	return f;
}

static bool
compare_profile(const Model *m, PGresult *res, int r)
{
	int64_t id = INT64(res, r, 0);
	Fold f = fold(m, id);
	char segments[40];
	const char *busy = f.events >= 4 ? "busy" : "";
	const char *kyoto = f.trait[0] == 2 ? "kyoto" : "";

	if (model_canonical(m, id) != id)
		return complain("profiles: %ld has nobody", (long) id);
	if (f.events != INT64(res, r, 1))
		return complain("profiles: %ld has %s events, not %ld", (long) id, PQgetvalue(res, r, 1),
						f.events);
	if (f.events > 0 && (f.first != INT64(res, r, 2) || f.last != INT64(res, r, 3)))
		return complain("events: of profile %ld are from %s to %s, not from %s to %s", (long) id,
						time_text(INT64(res, r, 2)), time_text(INT64(res, r, 3)),
						time_text(f.first),
						time_text(f.last));
	for (int t = 0; t < TRAITS; t++)
	{
		const char *mine = f.trait[t] < 2 ? "" : trait_value(t, f.trait[t]);

		if (strcmp(mine, PQgetvalue(res, r, 4 + t)) != 0)
			return complain("traits: trait %d of profile %ld is '%s', not '%s'", t, (long) id,
							PQgetvalue(res, r, 4 + t), mine);
	}
	snprintf(segments, sizeof(segments), "{%s%s%s}", busy, *busy && *kyoto ? "," : "", kyoto);
	if (strcmp(segments, PQgetvalue(res, r, 7)) != 0)
		return complain("profiles: %ld is in segments %s, not %s", (long) id, PQgetvalue(res, r, 7),
						segments);
	if ((f.consents && !f.refuses) != (PQgetvalue(res, r, 8)[0] == 't'))
		return complain("profiles: %ld %s", (long) id,
						f.refuses ? "refuses" : f.consents ? "consents" :
															 "was not asked");
	return true;
}

static bool
compare_profiles(const Model *m)
{
	PGresult *res = query(
		"SELECT p.profile_id, s.events, (extract(epoch FROM s.first_seen) * 1000000)::bigint, "
		"(extract(epoch FROM s.last_seen) * 1000000)::bigint, p.city, "
		"  p.first_store, p.traits->>'nick', ARRAY(SELECT g.name FROM cdp_data.segment g "
		"    WHERE g.segment_id = ANY (s.segments) ORDER BY 1), "
		"  EXISTS (SELECT FROM cdp_data.consent_ord o WHERE o.ord = p.ord) "
		"FROM cdp_data.profile p LEFT JOIN cdp_data.profile_state s USING (profile_id)");
	int n = PQntuples(res);
	int people = 0;
	bool same = true;

	for (int i = 0; i < m->nnodes; i++)
	{
		bool first = true;

		for (int j = 0; j < i; j++)
			first &= m->node[j].person != m->node[i].person;
		people += first;
	}
	for (int r = 0; r < n && same; r++)
		same = compare_profile(m, res, r);
	if (same && n != people)
		same = complain("profiles: %d, not %d", n, people);
	PQclear(res);
	return same;
}

static bool
compare_formers(const Model *m)
{
	PGresult *res = query("SELECT old_id, profile_id FROM cdp_data.profile_merged ORDER BY 1");
	int n = PQntuples(res);
	bool same = true;

	for (int f = 0; (f < m->nformers || f < n) && same; f++)
		if (f >= n || f >= m->nformers || m->former[f].id != INT64(res, f, 0) ||
			m->former[f].person != INT64(res, f, 1))
			same = complain("formers: old id %ld is of %ld, the server says %s of %s",
							f < m->nformers ? (long) m->former[f].id : 0,
							f < m->nformers ? (long) m->former[f].person : 0,
							f < n ? PQgetvalue(res, f, 0) : "none",
							f < n ? PQgetvalue(res, f, 1) : "nobody");
	PQclear(res);
	return same;
}

/* The verdict on one end of a piece of evidence, in the words of the server. */
static const char *
refusal_word(const Model *m, const Link *link, int i)
{
	static char word[80];
	const char *ns = link->ns >= 0 ? m->rules.rule[link->ns].ns : "";

	switch (link->verdict[i])
	{
		case JOINED:
			return "";
		case LIMIT:
			snprintf(word, sizeof(word), "limit:%s", ns);
			return word;
		case NEWER:
			snprintf(word, sizeof(word), "newer_link:%s", ns);
			return word;
		case TOO_MANY:
			return "too_many_identifiers";
		case SEPARATED:
			return "separated";
	}
	return "?";
}

static bool
compare_edge(const Model *m, PGresult *res, int r)
{
	static const char *const rules[] = {"message", "bulk", "merge", "override"};
	int64_t nodes[MAX_NAMED];
	int n = 0;
	int a = node_by_id(m, INT64(res, r, 0));
	int b = node_by_id(m, INT64(res, r, 1));
	const char *p = PQgetvalue(res, r, 2) + 1;

	while (*p >= '0' && *p <= '9' && n < MAX_NAMED)
	{
		char *end;

		nodes[n++] = strtoll(p, &end, 10);
		p = *end == ',' ? end + 1 : end;
	}
	if (n == 0)
	{
		nodes[n++] = INT64(res, r, 0);
		nodes[n++] = INT64(res, r, 1);
	}
	for (int k = 0; k < m->nlinks; k++)
	{
		const Link *link = &m->link[k];
		int found = 0;

		if (link->n != n || strcmp(rules[link->manner], PQgetvalue(res, r, 3)) != 0)
			continue;
		for (int i = 0; i < n; i++)
			for (int j = 0; j < n; j++)
				found += m->node[link->node[i]].id == nodes[j];
		/* a change of ranks changes between whom a set's rows are, and their times */
		if (found == n && m->changed)
			return true;
		for (int i = 1; i < n && found == n; i++)
		{
			int x = link->node[0];
			int y = link->node[i];

			if (!(x == a && y == b) && !(x == b && y == a))
				continue;
			if (link->first != INT64(res, r, 4))
				return complain("edges: %s and %s are linked since %s, not %s",
								ident_text(&m->rules, m->node[x].ident),
								ident_text(&m->rules, m->node[y].ident),
								time_text(INT64(res, r, 4)), time_text(link->first));
			/* why a link once was refused does not matter when others have joined its ends */
			if (compare_words && m->node[x].person != m->node[y].person &&
				strcmp(refusal_word(m, link, i), PQgetvalue(res, r, 5)) != 0)
				return complain("words: the link of %s and %s (%s, of %d) is refused for '%s', "
								"not '%s'",
								ident_text(&m->rules, m->node[x].ident),
								ident_text(&m->rules, m->node[y].ident), rules[link->manner],
								n, PQgetvalue(res, r, 5), refusal_word(m, link, i));
			return true;
		}
	}
	return complain("edges: nobody linked nodes %s and %s",
					PQgetvalue(res, r, 0), PQgetvalue(res, r, 1));
}

static bool
compare_edges(const Model *m)
{
	PGresult *res = query("SELECT e.a, e.b, e.nodes, e.rule, (extract(epoch FROM e.ts) * "
						  "1000000)::bigint, e.refused FROM cdp_data.identity_edge e");
	int n = PQntuples(res);
	int mine = 0;
	bool same = true;

	for (int k = 0; k < m->nlinks; k++)
		mine += m->link[k].n - 1;
	for (int r = 0; r < n && same; r++)
		same = compare_edge(m, res, r);
	if (same && mine != n && !m->changed)
		same = complain("edges: %d, not %d", n, mine);
	PQclear(res);
	return same;
}

/* Everything that the model knows; false and a complaint if the server differs. */
bool
server_compare(const Model *m)
{
	return compare_nodes(m) && compare_profiles(m) && compare_formers(m) && compare_edges(m);
}

bool
server_check_invariants(void)
{
	PGresult *res;
	bool hold = true;
	int n = 0;

	if (!PQsendQuery(conn, invariants))
		die("%s", PQerrorMessage(conn));
	while ((res = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(res) != PGRES_TUPLES_OK)
			die("docs/invariants.sql: %s", PQresultErrorMessage(res));
		n++;
		if (hold && PQntuples(res) > 0)
			hold = complain("invariants: query %d of docs/invariants.sql returns %d rows, the "
							"first begins with %s",
							n,
							PQntuples(res), PQgetvalue(res, 0, 0));
		PQclear(res);
	}
	return hold;
}
