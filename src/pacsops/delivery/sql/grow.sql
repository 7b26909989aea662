-- More instances belong to a promise. A kept promise becomes pending again for what is new; one on its way finds out
-- when it finishes; what an operator skipped or cancelled stays so.
UPDATE routing_state
   SET instances = %(instances)s,
       content_fingerprint = %(content_fingerprint)s,
       route_version = %(route_version)s,
       status = CASE WHEN status = ANY (%(from_states)s) THEN 'pending' ELSE status END,
       next_retry_at = CASE WHEN status = ANY (%(from_states)s) THEN now() ELSE next_retry_at END,
       attempt_count = CASE WHEN status = ANY (%(from_states)s) THEN 0 ELSE attempt_count END,
       lack_count = CASE WHEN status = ANY (%(from_states)s) THEN 0 ELSE lack_count END,
       open_since = CASE WHEN status = ANY (%(from_states)s) THEN now() ELSE open_since END,
       completed_at = CASE WHEN status = ANY (%(from_states)s) THEN NULL ELSE completed_at END,
       updated_at = now()
 WHERE id = %(id)s
   AND status NOT IN ('skipped', 'cancelled')
RETURNING id, status, source, study_id, route_name, destination, attempt_count
