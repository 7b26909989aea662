INSERT INTO routing_event (event, source, study_id, delivery_id, route_name, destination, attempt, detail)
VALUES (%(event)s, %(source)s, %(study_id)s, %(delivery_id)s, %(route_name)s, %(destination)s, %(attempt)s, %(detail)s)
