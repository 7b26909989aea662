-- The promise made before, locked; its instances only when they are not the ones wanted now.
SELECT id, status, last_error_class, delivered_instances,
       CASE WHEN content_fingerprint <> %(content_fingerprint)s THEN instances END AS instances
  FROM routing_state
 WHERE source = %(source)s AND level = %(level)s AND resource_id = %(resource_id)s
   AND route_name = %(route_name)s AND destination = %(destination)s
   FOR UPDATE
