-- An operator's retry: pending with all its attempts again; `anew` sends even what was delivered before.
UPDATE routing_state
   SET status = 'pending',
       next_retry_at = now(),
       attempt_count = 0,
       lack_count = 0,
       first_failed_at = NULL,
       interruptions = 0,
       completed_at = NULL,
       open_since = CASE WHEN status IN ('success', 'skipped', 'cancelled') THEN now() ELSE open_since END,
       delivered_instances = CASE WHEN %(anew)s AND status = 'success' THEN '{}' ELSE delivered_instances END,
       updated_at = now()
 WHERE id = ANY (%(ids)s) AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count
