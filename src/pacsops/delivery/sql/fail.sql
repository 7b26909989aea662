-- sending|sent → failed (with a wait) or stuck.
UPDATE routing_state
   SET status = %(status)s,
       next_retry_at = CASE WHEN %(status)s = 'failed' THEN now() + make_interval(secs => %(wait)s) END,
       last_error = %(reason)s,
       last_error_class = %(error_class)s,
       last_error_at = now(),
       failure_status = %(dimse_status)s, failure_sop_class = %(sop_class)s, failure_syntax = %(transfer_syntax)s,
       failure_told_at = now(),
       first_failed_at = coalesce(first_failed_at, now()),
       attempt_instances = '{}',
       job_status = 'failure',
       claim_token = NULL, claimed_by = NULL, lease_until = NULL,
       updated_at = now()
 WHERE id = %(id)s AND claim_token = %(token)s AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count, max_attempts, next_retry_at, first_failed_at
