-- success → pending for what the destination does not have, or stuck when that happened too often. Not when the
-- delivery was taken up again since it was completed.
UPDATE routing_state
   SET status = %(status)s,
       delivered_instances = ARRAY(SELECT unnest(delivered_instances) EXCEPT SELECT unnest(%(lacking)s::text[]) ORDER BY 1),
       next_retry_at = CASE WHEN %(status)s = 'pending' THEN now() + make_interval(secs => %(wait)s) END,
       last_error = %(reason)s,
       last_error_class = 'not-kept',
       last_error_at = now(),
       completed_at = NULL,
       verified_at = NULL, verify_at = NULL, verify_reference = NULL, verify_error = NULL, verify_count = 0,
       lack_count = lack_count + 1,
       updated_at = now()
 WHERE id = %(id)s AND status = ANY (%(from_states)s) AND completed_at = %(completed_at)s
   AND delivered_instances && %(lacking)s::text[]
RETURNING id, source, study_id, route_name, destination, attempt_count
