-- What the clients find: an installed cdp, and an ordinary role of kind app for the purpose they all work for.
CREATE EXTENSION cdp;
SELECT count(*) > 0 FROM cdp.init();
SELECT cdp.create_partitions('2026-01-01', '2026-04-01');
SELECT cdp.define_purpose('service');
SELECT cdp.define_trait('city');
SELECT cdp.define_trait('points', 'int');
SELECT cdp.define_trait('member_since', 'date');
SELECT cdp.define_segment('collectors', predicate => 'points >= 10');
CREATE ROLE drivers_app LOGIN NOSUPERUSER;
SELECT cdp.provision('drivers_app', 'app');
SELECT cdp.permit('drivers_app', 'service');
