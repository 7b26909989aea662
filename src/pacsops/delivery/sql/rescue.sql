-- Take over claims whose worker is gone. Not subject to the concurrency limit: they hold their slots already.
UPDATE routing_state s
   SET claim_token = gen_random_uuid(),
       claimed_by = %(worker)s,
       lease_until = now() + make_interval(secs => %(lease)s),
       updated_at = now()
  FROM (SELECT id FROM routing_state
         WHERE status IN ('sending', 'sent') AND source = %(source)s
           AND (%(transport)s::text IS NULL
                OR destination IN (SELECT h.destination FROM destination_health h WHERE h.transport = %(transport)s))
           AND (lease_until < now() OR claimed_by = ANY (%(dead_workers)s))
         ORDER BY lease_until
         LIMIT 100
           FOR UPDATE SKIP LOCKED) abandoned
 WHERE s.id = abandoned.id
RETURNING s.id, s.claim_token, s.status, s.source, s.level, s.resource_id, s.route_name, s.destination, s.study_id,
          s.attempt_instances, s.attempt_count, s.max_attempts, s.backoff, s.initial_delay, s.job_id, s.first_failed_at,
          s.interruptions
