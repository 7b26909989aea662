-- An operator's skip or cancel. A claim that was under way is fenced off.
UPDATE routing_state
   SET status = %(status)s,
       next_retry_at = NULL,
       completed_at = now(),
       attempt_instances = '{}',
       claim_token = NULL, claimed_by = NULL, lease_until = NULL,
       updated_at = now()
 WHERE id = ANY (%(ids)s) AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count
