-- First statement of a claim: lock one destination that has work due and room for it, the longest unserved first.
-- Its row lock makes claimers of the same destination take turns. A scalar subquery where EXISTS would do: PostgreSQL
-- makes a join of EXISTS, and then reads all that waits behind open breakers at every claim.
SELECT h.destination, h.max_concurrency, h.breaker
  FROM destination_health h
 WHERE (h.breaker = 'closed'
        OR (h.breaker = 'draining'
            AND (h.last_claimed_at IS NULL
                 OR h.last_claimed_at <= now() - make_interval(secs => %(drain_interval)s))))
   AND (%(transport)s::text IS NULL OR h.transport = %(transport)s)
   AND (SELECT true FROM routing_state s
         WHERE s.destination = h.destination AND s.source = %(source)s
           AND s.status IN ('pending', 'failed') AND s.next_retry_at <= now()
         LIMIT 1)
   AND h.max_concurrency > (SELECT count(*) FROM routing_state s
                             WHERE s.destination = h.destination AND s.status IN ('sending', 'sent'))
 ORDER BY h.last_claimed_at NULLS FIRST
 LIMIT 1
   FOR UPDATE OF h SKIP LOCKED
