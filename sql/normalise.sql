-- Normalisers of identifier values, and hashes for advertising platforms.
-- Needs a database in UTF-8.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\pset null -
\pset format unaligned
\pset fieldsep ' | '

-- what there is; names are exact, and an unknown one is not repeated: it may be a value
SELECT * FROM cdp.normalisers() WHERE name !~ ':' OR name IN ('phone:GB', 'phone:JP', 'phone:US') ORDER BY name COLLATE "C";
SELECT string_agg(substr(name, 7), ' ' ORDER BY name COLLATE "C") AS regions, count(*) FROM cdp.normalisers() WHERE name ~ '^phone:';
SELECT name FROM cdp.normalisers() GROUP BY 1 HAVING count(*) > 1;
SELECT cdp.normalise('phone:JP', '090-1234-5678');
SELECT cdp.normalise('a', 'Email');
SELECT cdp.normalise('a', 'phone:');
SELECT cdp.normalise('a', 'phone:jp');
SELECT cdp.normalise('a', 'phone:XX');
SELECT cdp.normalise_verdict('a', '');
SELECT cdp.normalise(NULL, 'email'), cdp.normalise_verdict('a', NULL);

CREATE FUNCTION shown(value text, normaliser text) RETURNS text LANGUAGE sql AS
$$ SELECT cdp.normalise_verdict(value, normaliser) || ' ' || cdp.normalise(value, normaliser) $$;

-- telephone numbers: what means the same
SELECT shown(v, n) AS result, string_agg(v, ' | ' ORDER BY o) AS written
FROM (VALUES
	('phone:JP', '{090-1234-5678,09012345678,"090 1234 5678",０９０－１２３４－５６７８,"０９０　１２３４　５６７８",(090)1234-5678,090.1234.5678,"+81 90-1234-5678","+81 (0)90 1234 5678","+81 090-1234-5678",819012345678,9012345678,tel:+81-90-1234-5678,"090ー1234ー5678"}'::text[]),
	('phone:JP', '{03-1234-5678,０３（１２３４）５６７８,+81312345678,"+81 3 1234 5678",312345678}'),
	('phone:JP', '{"010 1 202-555-0123","+1 (202) 555-0123",+12025550123}'),
	('phone:US', '{"(202) 555-0123",202-555-0123,"1 202 555 0123","+1 202.555.0123",2025550123,+１２０２５５５０１２３}'),
	('phone:GB', '{"020 7946 0000","+44 (0)20 7946 0000","+44 020 7946 0000","00 44 20 7946 0000","44 20 7946 0000","(020) 7946 0000","(+44) 20 7946 0000"}'),
	('phone:IT', '{"06 1234567","+39 06 1234567","+39 (0)6 1234567","0039 06 1234567"}'),
	('phone:MX', '{"55 1234 5678","+52 1 55 1234 5678","+52 55 1234 5678","044 55 1234 5678","045 55 1234 5678","01 55 1234 5678",5215512345678}'),
	('phone:AR', '{"011 15-2345-6789","+54 9 11 2345 6789","+54 11 15 2345 6789","11 15 2345 6789"}'),
	('phone:AR', '{"02966 15-234567","+54 9 2966 234567"}'),
	('phone:RU', '{"8 (912) 345-67-89","+7 912 345 67 89","+7 8 912 345 67 89","7 912 3456789"}'),
	('phone:HU', '{"06 30 123 4567","+36 30 123 4567","+36 (06) 30 123 4567"}'),
	('phone:DE', '{"0151 12345678","+49 (0)151 12345678","0049 151 12345678",0151/12345678}'),
	('phone:AE', '{"050 123 4567","٠٥٠١٢٣٤٥٦٧","+971 50 123 4567"}'),
	('phone:TH', '{"081 234 5678","๐๘๑๒๓๔๕๖๗๘","+66 81 234 5678"}')) c (n, vs), unnest(c.vs) WITH ORDINALITY u (v, o)
GROUP BY n, vs, 1 ORDER BY n, 1;
-- with an extension it is another person, however that is written
SELECT shown(v, 'phone:JP') AS result, string_agg(v, ' | ' ORDER BY o) AS written
FROM unnest('{"03-1234-5678 内線12","03-1234-5678（内線１２）","03-1234-5678 内12","03-1234-5678 x12","03-1234-5678 ext. 12","03-1234-5678#12",+81-3-1234-5678;ext=12,"+81312345678 Extension: 12",03-1234-5678}'::text[]) WITH ORDINALITY u (v, o)
GROUP BY 1 ORDER BY 1;
-- not understood: kept, but for blanks at the ends
SELECT v AS written, n, shown(v, n) FROM (VALUES
	('phone:JP', ' 110 '), ('phone:JP', '#9110'), ('phone:US', '911'), ('phone:GB', '116 123'), ('phone:AU', '13 12 34'),
	('phone', '090-1234-5678'), ('phone', '0044 20 7946 0000'), ('phone:JP', '1234-5678'), ('phone:DE', '30 123456'),
	('phone:DE', '4915112345678'), ('phone:IT', '3906123456'), ('phone:US', '555-0123'), ('phone:US', '1-800-FLOWERS'),
	('phone:JP', '03-1234-5678〜9'), ('phone:US', '202-555-0123/4567'), ('phone:JP', '03-1234-5678, 090-1234-5678'),
	('phone:JP', '090-1234-567'), ('phone:JP', '090-1234-56789'), ('phone:JP', '+81 90 1234 567 89'), ('phone:JP', '+81'),
	('phone:JP', '+'), ('phone:JP', '++81 90 1234 5678'), ('phone:JP', '+0081 90 1234 5678'), ('phone:KR', '001 1 202 555 0123'),
	('phone:JP', '0081 90 1234 5678'), ('phone:JP', '03-1234-5678 内線'), ('phone:JP', '03-1234-5678;ext=1234567890'),
	('phone:JP', '090-1234-5678 (mobile)'), ('phone:JP', E'03-1234-5678\n090-1234-5678'), ('phone:JP', ''), ('phone:JP', '　'),
	('phone', '+260 (0)97 123 4567'), ('phone', '+123456'), ('phone', '+1234567890123456'), ('phone:JP', '九〇'),
	('phone:MX', '1 213 555 0123'), ('phone:JP', repeat('1', 100))) c (n, v);
-- E.164, but the country or the range is not in the table
SELECT v AS written, shown(v, 'phone') FROM unnest('{"+260 97 123 4567","+1 112 345 6789","+999 1234 567"}'::text[]) v;
-- the Italian zero stays, the others go; a trunk prefix after the code goes only if the number fits without it
SELECT shown(v, 'phone') FROM unnest('{"+39 06 1234567","+81 03 1234 5678","+33 (0)6 12 34 56 78","+36 06 1 234 5678"}'::text[]) v;

-- e-mail: the mild form
SELECT v AS written, shown(v, 'email') FROM unnest(ARRAY[
	' Ada.Lovelace+News@EXAMPLE.com ', 'A.D.A@GMail.com', 'ada@googlemail.com', 'ada@example.com.', 'ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ', '　ada@example.com　',
	'ada@MÜLLER.example', 'ada@mu' || U&'\0308' || 'ller.example', 'ada@xn--mller-kva.example', 'ada@例え。テスト', 'ada@例え.テスト',
	'ada@ｴﾋﾟｿｰﾄﾞ.jp', 'ada@пример.рф', 'ada@παράδειγμα.ελ', 'ada@İstanbul.example', 'ada@istanbul.example', 'ada@straße.example', 'ada@strasse.example',
	'ÉVA@Example.com', '"Ada L"@Example.com', 'a..b.@docomo.example', 'ada@localhost', 'ada@[192.0.2.1]', 'ada@192.0.2.1', 'ada@a_b.example', 'ada@-a.example',
	'ada@' || repeat('x', 64) || '.example', repeat('a', 65) || '@example.com',
	'Ada', 'Ada@', '@Example.com', 'Ada Lovelace <ada@example.com>', 'a@b@c.example', 'ada@exam ple.com', 'ada@example.com, bob@example.com', 'ada,b@example.com', '']) v;
SELECT shown('a@' || repeat('ü.', 40) || 'de', 'email') LIKE 'plausible a@xn--tda.xn--tda.%' AS too_long_a_domain,
	cdp.normalise_verdict('a@' || repeat('ü.', 250) || 'de', 'email'), cdp.normalise_verdict('a@' || repeat('ü', 60) || '.de', 'email');

-- width and kana
SELECT v AS written, cdp.normalise(v, 'width') AS width, cdp.normalise(v, 'kana') AS kana FROM unnest(ARRAY[
	'Ｊｏｈｎ　Ｓｍｉｔｈ', 'ｶﾞｷﾞｸﾞ', '㍿', '①', '　山田　 太郎　', '髙', '高', '𠮷', '吉', '葛' || U&'\+0E0100', 'ﾔﾏﾀﾞ ﾀﾛｳ', 'やまだ　たろう', 'ヤマダ タロウ',
	'コーヒー', 'こーひー', 'コ-ヒ－', 'ｺ‐ﾋｰ', 'コ−ヒ―', 'コ〜ヒ～', 'ヴ', 'ゔ', 'ブ', 'か゛', 'カ' || U&'\3099', 'わ' || U&'\3099', 'ｽﾐｽ－ｼﾞｮｰﾝｽﾞ',
	'１－２－３', '1ー2ー3', 'A〜B', 'ゝゞ', 'ゟ', U&'\+01B150' || U&'\+01B132', 'Zoë', 'Zoe' || U&'\0308', 'a' || U&'\200B' || 'b', 'ß']) v;
SELECT count(DISTINCT cdp.normalise(v, 'kana')) AS readings FROM unnest('{やまだ-たろう,ヤマダータロウ,ﾔﾏﾀﾞ‐ﾀﾛｳ,ヤマダ－タロウ}'::text[]) v;

-- the plain ones
SELECT n, '[' || cdp.normalise(v, n) || ']' AS result, cdp.normalise_verdict(v, n)
FROM (VALUES (E' \u3000Ab\u00C9\u0130\u03A3 \t'), (''), (E' \u00A0')) c (v), unnest('{none,trim,lower,width}'::text[]) n;
-- no locale has a say
SELECT cdp.normalise('TITLE İI' COLLATE "C", 'lower') = cdp.normalise('TITLE İI', 'lower') AS same;

-- limits: 512 bytes, or the value is kept
SELECT n, cdp.normalise_verdict(v, n), octet_length(v) AS bytes, octet_length(cdp.normalise(v, n)) AS result
FROM (VALUES (repeat('a', 512)), (repeat('a', 513)), (repeat('ﷺ', 30)), (repeat('Ａ', 512)), (repeat('あ', 171)), (repeat(' a', 3000)), ('x' || repeat(' ', 10000))) c (v),
	unnest('{none,trim,lower,width,kana,email,phone:JP}'::text[]) WITH ORDINALITY u (n, o)
ORDER BY o, 3, 4;

-- the normal form of a normal form is itself, with the same verdict, and cdp.identifier leaves it alone
CREATE TABLE pieces AS SELECT row_number() OVER () - 1 AS i, p FROM unnest(ARRAY[
	'a', 'B', '@', '.', '-', ' ', '　', '+', '0', '1', '2', '9', '81', '44', '39', '00', '(', ')', '(0)', '/', '"', 'x', ';ext=', '内線', '０', '９', '－', '＠', '．',
	'ｶ', 'ﾞ', 'か', '゛', 'ー', '〜', '‐', 'わ', U&'\3099', 'é', 'e', U&'\0301', 'Ü', 'İ', 'ẞ', 'Σ', 'J', U&'\030C', '㍿', '𠮷', U&'\+01B150', U&'\200B', U&'\00AD', U&'\FEFF',
	U&'\00A0', '한', U&'\1112\1161', '。', 'com', '.jp', 'xn--', '_', '[', ']', ',', E'\n', 'ﬁ', '½', '١', 'ª', 'Å', U&'\2028', U&'\FE0F']) p;
CREATE TABLE texts AS
SELECT i, (SELECT string_agg((SELECT p FROM pieces WHERE pieces.i = ('x' || substr(md5(g.i || ' ' || j), 1, 7))::bit(28)::int % (SELECT count(*) FROM pieces)), '' ORDER BY j)
	FROM generate_series(0, g.i % 12) j) AS t
FROM generate_series(1, 4000) g (i);
INSERT INTO texts SELECT i, 'a@' || t FROM texts;
INSERT INTO texts SELECT i, (ARRAY['+81 ', '+81 (0)', '090', '0', '', '+1', '202', '+39 0', '+39 3', '+54 9', '+54 11 15', '+52 1', '0049 ', '44'])[1 + i % 14]
	|| left(translate(md5(i::text), 'abcdef', ''), 6 + i / 14 % 6) || CASE i / 84 % 4 WHEN 0 THEN ' ext. ' || i % 100 ELSE '' END
FROM generate_series(1, 4000) i;
CREATE TABLE results AS
SELECT t, n, cdp.normalise(t, n) AS r, cdp.normalise_verdict(t, n) AS v
FROM texts, unnest('{none,trim,lower,width,kana,email,phone,phone:JP,phone:IT,phone:US,phone:DE}'::text[]) n;
SELECT n, v, count(*) > 0 AS seen FROM results GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS not_its_own_normal_form FROM results WHERE cdp.normalise(r, n) <> r OR cdp.normalise_verdict(r, n) <> v;
SELECT count(*) AS changed_by_the_type FROM results WHERE v <> 'unknown' AND n ~ '^(email|phone|width|kana)'
	AND cdp.value_of(cdp.identifier(split_part(n, ':', 1), r)) <> r;
SELECT count(*) AS kept_but_changed FROM results WHERE v = 'unknown' AND r <> cdp.normalise(t, 'trim') AND n <> 'none';
SELECT count(*) AS no_number FROM results WHERE n ~ 'phone' AND v <> 'unknown' AND r !~ '^\+[1-9][0-9]{6,14}(;ext=[0-9]{1,9})?$';
SELECT count(*) AS width_is_not_nfkc FROM results WHERE n = 'width' AND v = 'valid' AND r IS NOT NFKC NORMALIZED;
SELECT count(*) AS too_long FROM results WHERE v <> 'unknown' AND (octet_length(r) > 512 OR r = '');
DROP TABLE texts, pieces, results;

-- indexes may use them, in parallel too
SELECT proname, provolatile, proparallel, proisstrict FROM pg_proc
WHERE pronamespace = 'cdp'::regnamespace AND proname IN ('normalise', 'normalise_verdict', 'normalisers', 'platform_hash', 'platform_rules') ORDER BY 1;
CREATE TABLE customers (tel text, UNIQUE (tel));
CREATE UNIQUE INDEX ON customers (cdp.normalise(tel, 'phone:JP'));
INSERT INTO customers VALUES ('090-1234-5678');
\set VERBOSITY sqlstate
INSERT INTO customers VALUES ('+81 90 1234 5678');
\set VERBOSITY default
DROP TABLE customers;

--
-- Platform hashes
--
SELECT * FROM cdp.platform_rules();
-- vectors that the platforms have published
SELECT v AS input, kind, platform, cdp.platform_hash(v, kind, platform) = hash AS published
FROM (VALUES
	('John_Smith@gmail.com', 'email', 'meta', '62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f'),
	('+1 (650) 555-1212', 'phone', 'meta', 'e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176'),
	('Mary', 'name', 'meta', '6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec'),
	('정', 'name', 'meta', '8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14'),
	(U&'Val\00E9ry', 'name', 'meta', '08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c'),
	(U&'VALE\0301RY ', 'name', 'meta', '08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c'),
	('1997-02-16', 'birthdate', 'meta', '01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c'),
	('F', 'gender', 'meta', '252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111'),
	('US', 'country', 'meta', '79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621'),
	(' JaneDoe@gmail.com', 'email', 'tiktok', 'd6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69'),
	('Jane.Saoirse@gmail.com', 'email', 'uid2', 'ku4mBX7Z3qJTXWyLFB1INzkyR2WZGW4ANSJUiW21iI8='),
	('JaneSaoirse+Work@gmail.com', 'email', 'uid2', 'ku4mBX7Z3qJTXWyLFB1INzkyR2WZGW4ANSJUiW21iI8='),
	('MyEmail@example.com', 'email', 'uid2', 'FsGNM28LJQ8OLZB0Us65ZYp07NrovJSGTCMSKnLMJ6U='),
	('JaneSaoirse+Work@example.com', 'email', 'uid2', 'KKruSBUjDNO069iMUVImVQZm6RrAGZKeOtrD9mwogYA='),
	('jane.saoirse@example.com', 'email', 'uid2', 'sZZDLHuYmiypHIN5mVfFFdpT5sE6vyC3j+qU8RfpC/g='),
	('+1 (234) 567-8901', 'phone', 'uid2', 'EObwtHBUqDNZR33LNSMdtt5cafsYFuGmuY4ZLenlue4=')) c (v, kind, platform, hash);
SELECT cdp.platform_hash(cdp.normalise('03-4405-7597', 'phone:JP'), 'phone', 'meta')
	= '574f12b7409ae74d10bebbcb5e79ce749d76c37d2590d689043c73d1a8e162d0' AS published;
-- the same person, another hash each: what is hashed, by the server's own function
SELECT platform, kind, v AS input, h AS hashed, cdp.platform_hash(v, kind, platform) = CASE platform WHEN 'uid2' THEN encode(sha256(convert_to(h, 'UTF8')), 'base64')
	ELSE encode(sha256(convert_to(h, 'UTF8')), 'hex') END AS same
FROM (VALUES
	('google', 'email', ' A.B+c@GMail.com', 'ab+c@gmail.com'), ('google', 'email', 'a.b@googlemail.com', 'ab@googlemail.com'), ('google', 'email', 'a.b@Example.com', 'a.b@example.com'),
	('meta', 'email', 'A.B+c@GMail.com', 'a.b+c@gmail.com'), ('tiktok', 'email', 'A.B+c@GMail.com', 'a.b+c@gmail.com'),
	('uid2', 'email', 'A.B+c@GMail.com', 'ab@gmail.com'), ('uid2', 'email', 'A.B+c@googlemail.com', 'a.b+c@googlemail.com'),
	('google', 'phone', '+1 212 565 0000', '+12125650000'), ('meta', 'phone', '+1 212 565 0000', '12125650000'),
	('tiktok', 'phone', '+1 212 565 0000', '+12125650000'), ('uid2', 'phone', '+1 212 565 0000', '+12125650000'),
	('google', 'name', ' O''Brien-Smith ', 'o''brien-smith'), ('meta', 'name', ' O''Brien-Smith ', 'obriensmith'), ('meta', 'name', 'Mary Ann', 'mary ann'),
	('meta', 'name', 'Æsa・Ж', 'æsaж'), ('google', 'name', U&'J\030C', U&'\01F0'), ('google', 'name', '①', '①'), ('meta', 'birthdate', '2000/02/29', '20000229'), ('meta', 'birthdate', '20240229', '20240229'), ('meta', 'gender', 'Male', 'm')) c (platform, kind, v, h);
-- nothing to hash: better no hash than one that matches nobody
SELECT platform, kind, v, cdp.platform_hash(v, kind, platform) FROM (VALUES
	('google', 'email', 'ada'), ('google', 'email', 'ada@'), ('google', 'email', '@gmail.com'), ('google', 'email', '..@gmail.com'), ('uid2', 'email', '+a@gmail.com'),
	('meta', 'email', 'a b@c.d'), ('meta', 'email', ''), ('google', 'phone', '090-1234-5678'), ('google', 'phone', '+81312345678;ext=12'), ('meta', 'phone', '+1'),
	('meta', 'name', ' ... '), ('google', 'name', '　'), ('meta', 'birthdate', '2023-02-29'), ('meta', 'birthdate', '1900-02-29'), ('meta', 'birthdate', '16.02.1997'), ('meta', 'birthdate', '1899-12-31'),
	('meta', 'birthdate', '1997/02-16'), ('meta', 'birthdate', '199702160'), ('meta', 'gender', 'x'), ('meta', 'country', 'USA'), ('meta', 'country', '日本')) c (platform, kind, v);
SELECT cdp.platform_hash(NULL, 'email', 'meta'), cdp.platform_hash('a@b.c', NULL, 'meta'), cdp.platform_hash('a@b.c', 'email', NULL);
-- rules that are not known are not guessed, and arguments in the wrong order are not shown
SELECT cdp.platform_hash('ada@example.com', 'email', 'line');
SELECT cdp.platform_hash('090-1234-5678', 'phone', 'yahoo_jp');
SELECT cdp.platform_hash('Paris', 'city', 'meta');
SELECT cdp.platform_hash('meta', 'ada@example.com', 'email');
SELECT cdp.platform_hash('email', 'ada@example.com', 'meta');

-- anybody may call these
CREATE ROLE regress_cdp_normalise;
SET ROLE regress_cdp_normalise;
SELECT cdp.normalise('A@B.c', 'email'), cdp.normalise_verdict('A@B.c', 'email'), (SELECT count(*) > 50 FROM cdp.normalisers()) AS normalisers,
	cdp.platform_hash('A@B.c', 'email', 'meta') IS NOT NULL AS hash, (SELECT count(*) > 10 FROM cdp.platform_rules()) AS rules;
RESET ROLE;
DROP ROLE regress_cdp_normalise;
DROP FUNCTION shown;

-- a database that is not in UTF-8: the ASCII part, and never more than plausible
\set main :DBNAME
CREATE DATABASE regress_cdp_euc TEMPLATE template0 ENCODING 'EUC_JP' LOCALE 'C';
\c regress_cdp_euc
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION cdp;
SELECT n, v, cdp.normalise(v, n), cdp.normalise_verdict(v, n) FROM (VALUES
	('width', ' ＡＢ  C '), ('width', ' AB  C '), ('kana', 'やまだ ー'), ('lower', 'ＡB'), ('lower', 'AB'), ('email', ' Ada@例え.JP'), ('email', 'Ada@Example.JP'),
	('phone:JP', '090-1234-5678'), ('phone:JP', '０９０-1234-5678')) c (n, v);
SELECT cdp.platform_hash('Ada@Example.com', 'email', 'meta') IS NOT NULL AS ascii;
SELECT cdp.platform_hash('山田', 'name', 'meta');
\c :main
DROP DATABASE regress_cdp_euc;
