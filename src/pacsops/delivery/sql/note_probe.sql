-- What a C-ECHO found: milliseconds, or NULL with the reason. An answer lets an open breaker drain. The row is locked.
UPDATE destination_health
   SET last_echo_at = now(),
       last_echo_ms = %(milliseconds)s,
       open_reason = CASE WHEN breaker = 'open' AND %(milliseconds)s IS NULL THEN %(reason)s
                          WHEN breaker = 'open' THEN NULL ELSE open_reason END,
       last_error = coalesce(%(reason)s, last_error),
       breaker = CASE WHEN breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN 'draining' ELSE breaker END,
       consecutive_failures = CASE WHEN breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN 0
                                   ELSE consecutive_failures END,
       drained = CASE WHEN breaker = 'open' THEN 0 ELSE drained END,
       opened_at = CASE WHEN breaker = 'open' AND %(milliseconds)s IS NOT NULL THEN NULL ELSE opened_at END,
       next_probe_at = CASE WHEN %(milliseconds)s IS NOT NULL THEN NULL ELSE next_probe_at END
 WHERE destination = %(destination)s
RETURNING breaker
