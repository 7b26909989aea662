-- Extend leases that are still held. In the order of the ids, as an operator's order locks them; the status lets the
-- index of what is in flight find them among all deliveries ever made.
WITH held AS (
    SELECT id FROM routing_state
     WHERE status IN ('sending', 'sent') AND claim_token = ANY (%(tokens)s::uuid[])
     ORDER BY id
       FOR UPDATE
)
UPDATE routing_state s
   SET lease_until = now() + make_interval(secs => %(lease)s)
  FROM held
 WHERE s.id = held.id
RETURNING s.claim_token
