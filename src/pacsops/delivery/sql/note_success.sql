-- A destination took a delivery. The row is locked.
UPDATE destination_health
   SET consecutive_failures = 0,
       open_count = 0,
       last_success_at = now(),
       breaker = CASE WHEN breaker = 'open' THEN 'draining'
                      WHEN breaker = 'draining' AND drained + 1 >= %(drained_enough)s THEN 'closed'
                      ELSE breaker END,
       drained = CASE WHEN breaker = 'draining' THEN drained + 1 ELSE 0 END,
       opened_at = NULL, open_reason = NULL, next_probe_at = NULL
 WHERE destination = %(destination)s
