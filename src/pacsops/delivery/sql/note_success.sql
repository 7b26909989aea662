-- A destination took a delivery. `before` is what it was until now.
WITH before AS (
    SELECT destination, breaker, last_success_at FROM destination_health
     WHERE destination = %(destination)s FOR UPDATE
)
UPDATE destination_health h
   SET consecutive_failures = 0,
       open_count = 0,
       last_success_at = now(),
       breaker = CASE WHEN h.breaker = 'open' THEN 'draining'
                      WHEN h.breaker = 'draining' AND h.drained + 1 >= %(drained_enough)s THEN 'closed'
                      ELSE h.breaker END,
       drained = CASE WHEN h.breaker = 'draining' THEN h.drained + 1 ELSE 0 END,
       opened_at = NULL, open_reason = NULL, next_probe_at = NULL
  FROM before
 WHERE h.destination = before.destination
RETURNING before.breaker AS was, before.last_success_at AS last_success_before, h.breaker
