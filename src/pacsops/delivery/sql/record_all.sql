INSERT INTO routing_event (event, source, study_id, delivery_id, route_name, destination, attempt, detail)
SELECT %(event)s, source, study_id, id, route_name, destination, attempt_count, %(detail)s
  FROM routing_state
 WHERE id = ANY (%(ids)s)
 ORDER BY id
