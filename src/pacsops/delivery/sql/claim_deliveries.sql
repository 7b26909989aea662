-- Second statement of a claim, with a snapshot of its own: it sees what the last claimer of this destination
-- committed. In one statement with the first it would count in the older snapshot and exceed the limit.
WITH room AS (
    SELECT greatest(0, least(%(most)s, %(max_concurrency)s - count(*))) AS slots
      FROM routing_state
     WHERE destination = %(destination)s AND status IN ('sending', 'sent')
), chosen AS (
    SELECT id
      FROM routing_state
     WHERE destination = %(destination)s AND source = %(source)s
       AND status IN ('pending', 'failed') AND status = ANY (%(from_states)s) AND next_retry_at <= now()
     ORDER BY priority, next_retry_at, id
     LIMIT (SELECT slots FROM room)
       FOR UPDATE SKIP LOCKED
), touched AS (
    UPDATE destination_health SET last_claimed_at = now() WHERE destination = %(destination)s
)
UPDATE routing_state s
   SET status = 'sending',
       claim_token = gen_random_uuid(),
       claimed_by = %(worker)s,
       lease_until = now() + make_interval(secs => %(lease)s),
       attempt_count = attempt_count + 1,
       attempt_instances = ARRAY(SELECT unnest(instances) EXCEPT SELECT unnest(delivered_instances) ORDER BY 1),
       job_id = NULL,
       job_status = NULL,
       next_retry_at = NULL,
       attempt_started_at = now(),
       updated_at = now()
  FROM chosen
 WHERE s.id = chosen.id
RETURNING s.id, s.claim_token, s.status, s.source, s.level, s.resource_id, s.route_name, s.destination, s.study_id,
          s.attempt_instances, s.attempt_count, s.max_attempts, s.backoff, s.initial_delay, s.job_id, s.first_failed_at,
          s.priority, s.interruptions
