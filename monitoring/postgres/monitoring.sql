-- What monitoring wants of a PostgreSQL: statement statistics, and a role that may read them and nothing else.
CREATE EXTENSION pg_stat_statements;
CREATE ROLE exporter LOGIN CONNECTION LIMIT 5;
GRANT pg_monitor TO exporter;
