-- Ages in seconds by the database's clock, NULL of what never was; and how large the databases are.
SELECT (SELECT extract(epoch FROM now() - max(beat_at)) FROM router_heartbeat)::float AS router_seconds,
       (SELECT extract(epoch FROM now() - max(beat_at)) FROM gateway_heartbeat)::float AS gateway_seconds,
       (SELECT extract(epoch FROM now() - max(finished_at)) FROM backup_run WHERE kind = 'backup' AND ok)::float
           AS backup_seconds,
       (SELECT extract(epoch FROM now() - max(finished_at)) FROM backup_run WHERE kind = 'verify' AND ok)::float
           AS verified_seconds,
       (SELECT sum(pg_database_size(oid)) FROM pg_database
         WHERE has_database_privilege(oid, 'CONNECT') AND datallowconn)::bigint AS database_bytes
