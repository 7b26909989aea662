-- sending|sent → success, or → pending when instances came meanwhile.
WITH held AS (
    SELECT id, ARRAY(SELECT DISTINCT unnest(delivered_instances || attempt_instances) ORDER BY 1) AS delivered
      FROM routing_state
     WHERE id = %(id)s AND claim_token = %(token)s AND status = ANY (%(from_states)s)
       FOR UPDATE
)
UPDATE routing_state s
   SET delivered_instances = held.delivered,
       attempt_instances = '{}',
       status = CASE WHEN cardinality(held.delivered) = cardinality(s.instances) THEN 'success' ELSE 'pending' END,
       next_retry_at = CASE WHEN cardinality(held.delivered) = cardinality(s.instances) THEN NULL ELSE now() END,
       completed_at = CASE WHEN cardinality(held.delivered) = cardinality(s.instances) THEN now() END,
       attempt_count = CASE WHEN cardinality(held.delivered) = cardinality(s.instances) THEN attempt_count ELSE 0 END,
       first_failed_at = NULL,
       interruptions = 0,
       last_error = NULL, last_error_class = NULL, last_error_at = NULL,
       job_status = 'success',
       verified_at = NULL, verify_reference = NULL, verify_error = NULL, verify_count = 0,
       verify_at = CASE WHEN cardinality(held.delivered) = cardinality(s.instances)
                         AND (SELECT CASE s.source WHEN 'gateway' THEN h.gateway_verify ELSE h.verify END
                                FROM destination_health h WHERE h.destination = s.destination) <> 'none'
                        THEN now() + make_interval(secs => %(verify_after)s) END,
       claim_token = NULL, claimed_by = NULL, lease_until = NULL,
       updated_at = now()
  FROM held
 WHERE s.id = held.id
RETURNING s.id, s.status, s.source, s.study_id, s.route_name, s.destination, s.attempt_count,
          cardinality(s.instances) - cardinality(s.delivered_instances) AS remaining,
          CASE WHEN s.status = 'success'
               THEN greatest(0, round(extract(epoch FROM now() - s.open_since) * 1000))::bigint END AS open_ms
