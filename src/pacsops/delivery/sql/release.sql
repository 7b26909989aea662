-- sending|sent → pending: the attempt came to nothing and does not count.
UPDATE routing_state
   SET status = 'pending',
       next_retry_at = now() + make_interval(secs => %(wait)s),
       attempt_count = attempt_count - 1,
       interruptions = interruptions + CASE WHEN job_id IS NULL THEN 0 ELSE 1 END,
       last_error = %(reason)s,
       last_error_class = %(error_class)s,
       last_error_at = now(),
       attempt_instances = '{}',
       job_id = NULL, job_status = NULL,
       claim_token = NULL, claimed_by = NULL, lease_until = NULL,
       updated_at = now()
 WHERE id = %(id)s AND claim_token = %(token)s AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count, next_retry_at
