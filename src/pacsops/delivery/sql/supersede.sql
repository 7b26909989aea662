-- A larger image of the study came before the smaller one was tried: only the larger is sent.
UPDATE routing_state
   SET status = 'cancelled', next_retry_at = NULL, completed_at = now(), updated_at = now()
 WHERE source = %(source)s AND study_id = %(study_id)s AND level = 'instance'
   AND route_name = %(route_name)s AND destination = %(destination)s
   AND resource_id <> %(resource_id)s
   AND status = ANY (%(from_states)s) AND attempt_count = 0
RETURNING id, source, study_id, route_name, destination, attempt_count
