-- An attempt met an outage. The breaker opens after several in a row, at once while draining, and when a delivery ran
-- out of attempts without the destination taking anything meanwhile. The row is locked.
WITH verdict AS (
    SELECT destination,
           breaker <> 'closed' OR consecutive_failures + 1 >= %(threshold)s
           OR (%(exhausted)s AND (last_success_at IS NULL OR last_success_at < %(first_failed_at)s)) AS opens
      FROM destination_health
     WHERE destination = %(destination)s
)
UPDATE destination_health h
   SET consecutive_failures = h.consecutive_failures + 1,
       last_failure_at = now(),
       last_error = %(reason)s,
       breaker = CASE WHEN verdict.opens THEN 'open' ELSE h.breaker END,
       opened_at = CASE WHEN verdict.opens THEN coalesce(h.opened_at, now()) END,
       open_reason = CASE WHEN verdict.opens THEN %(reason)s END,
       open_count = CASE WHEN verdict.opens AND h.breaker <> 'open' THEN h.open_count + 1 ELSE h.open_count END,
       next_probe_at = CASE WHEN h.breaker = 'open' THEN h.next_probe_at
                            WHEN verdict.opens
                            THEN now() + make_interval(secs => least(900, %(probe_interval)s * 2 ^ least(h.open_count, 10)))
                       END
  FROM verdict
 WHERE h.destination = verdict.destination
RETURNING h.breaker
