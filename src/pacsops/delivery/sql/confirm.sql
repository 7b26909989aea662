-- Instances of a claim that the destination has taken are delivered from now on, whatever becomes of the others; and
-- the claim takes in what the promise grew by meanwhile. An attempt that gets on is the first again. Done twice it is
-- done once, so it returns all that is under way, not only what is new.
WITH held AS (
    SELECT id, ARRAY(SELECT DISTINCT unnest(delivered_instances || %(confirmed)s::text[]) ORDER BY 1) AS delivered,
           ARRAY(SELECT unnest(attempt_instances) EXCEPT SELECT unnest(%(confirmed)s::text[]) ORDER BY 1) AS under_way
      FROM routing_state
     WHERE id = %(id)s AND claim_token = %(token)s
       FOR UPDATE
), grown AS (
    SELECT s.id,
           CASE WHEN cardinality(s.instances) = cardinality(held.delivered) + cardinality(held.under_way) THEN '{}'
                ELSE ARRAY(SELECT unnest(s.instances) EXCEPT SELECT unnest(held.delivered || held.under_way) ORDER BY 1)
           END AS instances
      FROM routing_state s JOIN held USING (id)
)
UPDATE routing_state s
   SET delivered_instances = held.delivered,
       attempt_instances = held.under_way || grown.instances,
       attempt_count = CASE WHEN cardinality(%(confirmed)s::text[]) > 0 THEN 1 ELSE s.attempt_count END,
       first_failed_at = CASE WHEN cardinality(%(confirmed)s::text[]) > 0 THEN NULL ELSE s.first_failed_at END,
       updated_at = now()
  FROM held JOIN grown USING (id)
 WHERE s.id = held.id
RETURNING s.attempt_count, s.attempt_instances
