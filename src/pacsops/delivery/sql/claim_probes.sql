-- Destinations whose probe is due, of those the asker can reach; the next one is put off so that no two both probe. A long outage is
-- probed less often: a quarter of its age, at most once a minute.
UPDATE destination_health h
   SET next_probe_at = now() + make_interval(secs => greatest(%(probe_interval)s,
                           least(60, extract(epoch FROM now() - h.opened_at) / 4)))
  FROM (SELECT destination FROM destination_health
         WHERE breaker = 'open' AND next_probe_at <= now() AND destination = ANY (%(known)s)
         ORDER BY next_probe_at
         LIMIT %(most)s
           FOR UPDATE SKIP LOCKED) due
 WHERE h.destination = due.destination
RETURNING h.destination
