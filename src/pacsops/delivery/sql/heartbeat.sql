UPDATE routing_state
   SET lease_until = now() + make_interval(secs => %(lease)s)
 WHERE claim_token = ANY (%(tokens)s::uuid[])
RETURNING claim_token
