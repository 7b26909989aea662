-- A superseded image is the largest again: the larger one was deleted, or other routes decide. What an operator
-- cancelled stays so.
UPDATE routing_state s
   SET status = 'pending', next_retry_at = now(), completed_at = NULL, open_since = now(), updated_at = now()
 WHERE source = %(source)s AND level = %(level)s AND resource_id = %(resource_id)s
   AND route_name = %(route_name)s AND destination = %(destination)s
   AND status = ANY (%(from_states)s)
   AND (SELECT event FROM routing_event e
         WHERE e.study_id = s.study_id AND e.delivery_id = s.id
         ORDER BY e.id DESC LIMIT 1) = %(superseded)s
RETURNING id, source, study_id, route_name, destination, attempt_count
