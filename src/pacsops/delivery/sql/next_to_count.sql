-- Which events to count for good next; the row stays held, and whoever finds it held leaves the counting to its holder.
-- Not those that somebody may still commit: an event's time is never before the start of its transaction. The hour is
-- for clocks that are set back.
SELECT until AS since,
       least(until + %(most)s,
             date_trunc('hour', now() - interval '1 hour'),
             (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database())) AS until
  FROM metric_counted
   FOR UPDATE SKIP LOCKED
