-- stuck → pending for what got stuck only because its destination was down: an outage's error, and the destination
-- took nothing since the delivery's last attempt began.
UPDATE routing_state s
   SET status = 'pending', next_retry_at = now(), attempt_count = 0, first_failed_at = NULL, updated_at = now()
  FROM (SELECT id FROM routing_state
         WHERE destination = %(destination)s AND status = ANY (%(from_states)s) AND status = 'stuck'
           AND last_error_class = ANY (%(outage)s)
           AND (%(last_success_at)s::timestamptz IS NULL OR %(last_success_at)s::timestamptz < attempt_started_at)
           FOR UPDATE SKIP LOCKED) down
 WHERE s.id = down.id
RETURNING s.id, s.source, s.study_id, s.route_name, s.destination, s.attempt_count
