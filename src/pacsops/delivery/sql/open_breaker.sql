-- The destination cannot take anything at all (it is not configured): wait for a probe to find it.
UPDATE destination_health
   SET breaker = 'open',
       opened_at = coalesce(opened_at, now()),
       open_reason = %(reason)s,
       last_failure_at = now(),
       last_error = %(reason)s,
       next_probe_at = now() + make_interval(secs => %(probe_interval)s)
 WHERE destination = %(destination)s AND breaker <> 'open'
RETURNING destination
