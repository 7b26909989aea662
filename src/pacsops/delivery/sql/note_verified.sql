-- The destination has all of it, unless the delivery was taken up again meanwhile.
UPDATE routing_state
   SET verified_at = now(), verify_at = NULL, verify_reference = NULL, verify_error = NULL,
       verify_count = verify_count + 1,
       lack_count = 0
 WHERE id = %(id)s AND status = 'success' AND completed_at = %(completed_at)s
RETURNING id, source, study_id, route_name, destination, attempt_count
