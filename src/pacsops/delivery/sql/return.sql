-- Images that had been deleted from Orthanc are there again: stuck over their absence → pending with them.
UPDATE routing_state
   SET status = 'pending', next_retry_at = now(), attempt_count = 0, first_failed_at = NULL,
       instances = %(instances)s,
       content_fingerprint = %(content_fingerprint)s,
       route_version = %(route_version)s,
       updated_at = now()
 WHERE id = %(id)s AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count
