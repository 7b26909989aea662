-- Instances that Orthanc no longer holds cannot be sent; the promise keeps the others.
UPDATE routing_state
   SET instances = ARRAY(SELECT unnest(instances) EXCEPT
                         (SELECT unnest(%(vanished)s::text[]) EXCEPT SELECT unnest(delivered_instances)) ORDER BY 1),
       attempt_instances = ARRAY(SELECT unnest(attempt_instances) EXCEPT SELECT unnest(%(vanished)s::text[]) ORDER BY 1),
       content_fingerprint = '',  -- differs from any: the next evaluation compares the instances themselves
       updated_at = now()
 WHERE id = %(id)s AND claim_token = %(token)s
RETURNING id, cardinality(instances) - cardinality(delivered_instances) AS remaining
