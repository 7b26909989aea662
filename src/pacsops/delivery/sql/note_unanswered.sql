-- Nothing is known yet: ask again after `wait` seconds; NULL gives up.
UPDATE routing_state
   SET verify_at = now() + make_interval(secs => %(wait)s),
       verify_count = verify_count + 1,
       verify_reference = %(reference)s,
       verify_error = %(reason)s
 WHERE id = %(id)s AND status = 'success' AND completed_at = %(completed_at)s
RETURNING id, source, study_id, route_name, destination, attempt_count
