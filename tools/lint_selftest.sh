#!/bin/bash
# Plants one fault at a time in a small clean tree and sees that lint_rules.pl (and the symbol and format checks of
# lint.sh, when a compiler is there) find it: a check that cannot fail is none. Prints one line a fault.

tools=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
status=0

clean_tree()
{
	rm -rf "$tmp/p"
	mkdir -p "$tmp/p"/{src/core,src/identity,src/segment,src/consent,sql/install,expected,specs,tools/unit}
	cd "$tmp/p" || exit 1
	cat > Makefile <<-'EOF'
		OBJS = \
			src/cdp.o \
			src/core/text.o
		INSTALL_SQL = sql/install/00_head.sql sql/install/90_privileges.sql
		REGRESS = one
		ISOLATION =
	EOF
	printf '#include "postgres.h"\n\n#include "cdp.h"\n\nint cdp_x = 1; /* "http://x" */\n' > src/cdp.c
	printf '#include "core/text.h"\n' > src/core/text.c
	printf '#define CDP_TEXT 1\n' | tee src/cdp.h src/compat.h src/guc.h src/core/text.h src/identity/graph.h \
		src/segment/segment.h src/consent/consent.h > /dev/null
	cat > sql/install/00_head.sql <<-'EOF'
		\echo Use "CREATE EXTENSION cdp" to load this file. \quit
		SET LOCAL search_path TO pg_catalog, pg_temp;
		CREATE SCHEMA cdp;
		CREATE TYPE cdp.t;
		CREATE FUNCTION cdp.t_in(cstring) RETURNS cdp.t LANGUAGE c AS 'MODULE_PATHNAME', 'cdp_t_in';
		CREATE TYPE cdp.t (INPUT = cdp.t_in);
		COMMENT ON TYPE cdp.t IS 'A type; with a semicolon.';
		CREATE FUNCTION cdp.f() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
		BEGIN
			CREATE TABLE IF NOT EXISTS x (a int);
			EXECUTE 'CREATE POLICY p ON x';
			GRANT SELECT ON x TO PUBLIC;
		END $$;
		COMMENT ON FUNCTION cdp.f() IS 'A function.';
		CREATE FUNCTION cdp.g() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
		COMMENT ON FUNCTION cdp.g() IS 'Two statements.';
		CREATE FUNCTION cdp.h() RETURNS int LANGUAGE sql
		-- inlined: one word
		AS 'SELECT 1';
		COMMENT ON FUNCTION cdp.h() IS 'Inlined.';
	EOF
	echo 'REVOKE ALL ON FUNCTION cdp.f() FROM PUBLIC;' > sql/install/90_privileges.sql
	echo 'SELECT 1;' | tee sql/one.sql > expected/one.out
}

# fault RULE COMMAND: the rule, and no other, must break
fault()
{
	local out

	clean_tree
	eval "$2"
	out=$(perl "$tools/lint_rules.pl" "$tmp/p")
	if [ "$(printf '%s\n' "$out" | grep '^not ok')" = "not ok - $1" ]; then
		echo "ok - finds: $2"
	else
		echo "not ok - finds: $2"
		printf '%s\n' "$out" | grep -A3 '^not ok' | sed 's/^/#   /'
		status=1
	fi
}

# sql TEXT: appended to the install script
sql()
{
	printf '%s\n' "$1" >> sql/install/00_head.sql
}

clean_tree
if perl "$tools/lint_rules.pl" "$tmp/p" > "$tmp/out"; then
	echo "ok - the clean tree passes"
else
	echo "not ok - the clean tree passes"
	grep -A3 '^not ok' "$tmp/out" | sed 's/^/#   /'
	status=1
fi

fault 'C comments are /* */' 'echo "int a; // b" >> src/cdp.c'
fault 'C is indented with tabs' 'printf "void\nf(void)\n{\n    g();\n}\n" >> src/cdp.c'
fault 'C lines have 100 columns at most' 'printf "/* %0110d */\n" 1 >> src/cdp.c'
fault 'includes keep to the floors' 'echo "#include \"segment/segment.h\"" >> src/consent/consent.h'
fault 'includes keep to the floors' 'echo "#include \"consent/consent.h\"" >> src/identity/graph.h'
fault 'includes keep to the floors' 'echo "#include \"identity/graph.h\"" >> src/core/text.c'
fault 'includes keep to the floors' 'echo "#include \"core/text.h\"" >> src/cdp.h'
fault 'includes keep to the floors' 'echo "#include \"graph.h\"" >> src/identity/graph.h'
fault 'includes keep to the floors' 'echo "#include \"../cdp.h\"" >> src/identity/graph.h'
fault 'includes keep to the floors' 'echo "#include \"postgres.h\"" >> src/identity/graph.h'
fault 'includes keep to the floors' 'mkdir src/other && echo "int x;" > src/other/x.h'
fault 'core knows no server' 'echo "#include \"postgres.h\"" >> src/core/text.c'
fault 'core knows no server' 'echo "#include <utils/guc.h>" >> src/core/text.c'
fault 'core knows no server' 'echo "#include \"guc.h\"" >> src/core/text.c'
fault 'only src/compat.h knows versions' 'echo "#if PG_VERSION_NUM >= 160000" >> src/cdp.c'
fault 'SQL scripts start guarded' 'sed -i 1d sql/install/00_head.sql'
fault 'SQL scripts start guarded' 'sed -i 2d sql/install/00_head.sql'
fault 'SQL scripts are ASCII' 'printf "%b\\n" "-- \\0303\\0251" >> sql/install/00_head.sql'
fault 'SQL scripts create, they adopt nothing' 'sql "CREATE OR REPLACE VIEW cdp.v AS SELECT 1; COMMENT ON VIEW cdp.v IS '"'x'"';"'
fault 'SQL scripts create, they adopt nothing' 'sql "CREATE TABLE IF NOT EXISTS cdp.v (); COMMENT ON TABLE cdp.v IS '"'x'"';"'
fault 'SQL scripts name schema cdp' 'sql "CREATE SEQUENCE s;"'
fault 'SQL scripts name schema cdp' 'sql "CREATE OPERATOR && (FUNCTION = cdp.f);"'
fault 'SQL scripts name schema cdp' 'sql "CREATE SCHEMA other;"'
fault 'SQL scripts leave roles and policies alone' 'sql "CREATE ROLE x;"'
fault 'SQL scripts leave roles and policies alone' 'sql "CREATE POLICY x ON cdp.y;"'
fault 'SQL scripts leave roles and policies alone' 'sql "CREATE TEMP TABLE x ();"'
fault 'grants stand in 90_privileges.sql' 'sql "GRANT USAGE ON SCHEMA cdp TO PUBLIC;"'
fault 'SQL and PL/pgSQL functions pin search_path' \
	'sql "CREATE FUNCTION cdp.a_in() RETURNS int LANGUAGE sql AS '"'SELECT 1'"';"'
fault 'SQL and PL/pgSQL functions pin search_path' \
	'sql "CREATE FUNCTION cdp.a_in() RETURNS int LANGUAGE plpgsql SET search_path = cdp, pg_temp AS \$\$BEGIN END\$\$;"'
fault 'SQL and PL/pgSQL functions pin search_path' \
	'sql "CREATE FUNCTION cdp.a_in() RETURNS int AS \$\$ SET search_path = pg_catalog, pg_temp \$\$ LANGUAGE plpgsql;"'
fault 'no SECURITY DEFINER' \
	'sql "CREATE FUNCTION cdp.a_in() RETURNS int LANGUAGE c SECURITY DEFINER AS '"'MODULE_PATHNAME', 'cdp_a_in'"';"'
fault 'C functions live in MODULE_PATHNAME' \
	'sql "CREATE FUNCTION cdp.a_in() RETURNS int LANGUAGE c AS '"'cdp', 'cdp_a_in'"';"'
fault 'SQL objects have a COMMENT' \
	'sql "CREATE FUNCTION cdp.a() RETURNS int LANGUAGE c AS '"'MODULE_PATHNAME', 'cdp_a'"';"'
fault 'SQL objects have a COMMENT' \
	'sql "CREATE FUNCTION cdp.f(int) RETURNS int LANGUAGE c AS '"'MODULE_PATHNAME', 'cdp_a'"';"'
fault 'SQL objects have a COMMENT' 'sql "CREATE AGGREGATE cdp.m(int) (SFUNC = cdp.f, STYPE = int);"'
fault 'lists and files agree' 'echo "SELECT 2;" | tee sql/two.sql > expected/two.out'
fault 'lists and files agree' 'rm sql/one.sql'
fault 'lists and files agree' 'rm expected/one.out'
fault 'lists and files agree' 'echo x > expected/three.out'
fault 'lists and files agree' 'echo "int cdp_y;" > src/segment/segment.c'
fault 'lists and files agree' 'echo "session a" > specs/two.spec'
fault 'lists and files agree' 'echo "SELECT 1;" > sql/install/50_ingest.sql'
fault 'no trailing white space' 'echo "x " > README.md'
fault 'no trailing white space' 'printf "x" > README.md'
fault 'no notes to self' 'echo "/* TO""DO: this */" >> src/cdp.c'
fault 'no names of one machine' 'echo "see /wo""rk/notes" > README.md'
fault 'no names of one machine' 'echo "http://deb.debi""an.org/x" > README.md'

# The two checks of lint.sh itself, on libraries and sources made here.
shared()
{
	printf '%s\n' "$1" | ${CC:-gcc} -shared -fPIC -x c -o "$tmp/x.so" - &&
		CDP_SO=$tmp/x.so "$tmp/p/tools/lint.sh" 2>&1 | grep "$2" | head -n 1
}
clean_tree
cp "$tools"/{lint.sh,lint_rules.pl,format.sh} "$tmp/p/tools/"
cp "$tools/../.clang-format" "$tmp/p/"
sym='exported symbols start with cdp_'
for want in 'ok:int Pg_magic_func, cdp_a, pg_finfo_cdp_a, _PG_init;' 'not ok:int Pg_magic_func, helper;' \
	'not ok:int Pg_magic_func, pg_finfo_helper;' 'not ok:int cdp_a;'; do
	if [ "$(shared "${want#*:}" "$sym")" = "${want%%:*} - $sym" ]; then
		echo "ok - symbols: $want"
	else
		echo "not ok - symbols: $want"
		status=1
	fi
done
if command -v clang-format-14 > /dev/null; then
	printf 'int\nf(void)\n{\n\treturn 1;\n}\n' > src/cdp.c
	a=$(tools/format.sh --check > /dev/null 2>&1; echo $?)
	printf 'int f(void) {\n\treturn 1;\n}\n' > src/cdp.c
	b=$(tools/format.sh --check > /dev/null 2>&1; echo $?)
	tools/format.sh
	c=$(tools/format.sh --check > /dev/null 2>&1; echo $?)
	if [ "$a$b$c" = 010 ]; then
		echo "ok - format: finds and mends"
	else
		echo "not ok - format: finds and mends ($a$b$c)"
		status=1
	fi
fi

exit $status
