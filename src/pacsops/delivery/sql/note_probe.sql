-- What a C-ECHO found: milliseconds, or NULL with the reason. An answer lets an open breaker drain.
WITH before AS (
    SELECT destination, breaker, opened_at FROM destination_health WHERE destination = %(destination)s FOR UPDATE
)
UPDATE destination_health h
   SET last_echo_at = now(),
       last_echo_ms = %(milliseconds)s,
       open_reason = CASE WHEN h.breaker = 'open' AND %(milliseconds)s IS NULL THEN %(reason)s
                          WHEN h.breaker = 'open' THEN NULL ELSE h.open_reason END,
       last_error = coalesce(%(reason)s, h.last_error),
       breaker = CASE WHEN h.breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN 'draining' ELSE h.breaker END,
       consecutive_failures = CASE WHEN h.breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN 0
                                   ELSE h.consecutive_failures END,
       drained = CASE WHEN h.breaker = 'open' THEN 0 ELSE h.drained END,
       opened_at = CASE WHEN h.breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN NULL ELSE h.opened_at END,
       next_probe_at = CASE WHEN %(milliseconds)s IS NOT NULL THEN NULL ELSE h.next_probe_at END
  FROM before
 WHERE h.destination = before.destination
RETURNING before.breaker AS was, before.opened_at AS was_opened_at, h.breaker, h.last_success_at
