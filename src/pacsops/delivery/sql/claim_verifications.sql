-- Delivered, and due to be asked about: put off, so that nobody else asks meanwhile.
UPDATE routing_state s
   SET verify_at = now() + make_interval(secs => %(lease)s)
  FROM (SELECT id FROM routing_state
         WHERE destination = %(destination)s AND source = %(source)s AND status = 'success' AND verify_at <= now()
         ORDER BY verify_at, id
         LIMIT %(most)s
           FOR UPDATE SKIP LOCKED) due
 WHERE s.id = due.id
RETURNING s.id, s.source, s.destination, s.study_id, s.route_name, s.delivered_instances, s.completed_at, s.verify_count,
          s.verify_reference, s.verified_at
