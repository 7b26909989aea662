-- How long what was delivered in the last five minutes had been open, in milliseconds, by destination.
SELECT destination, percentile_cont(%(quantiles)s) WITHIN GROUP (ORDER BY (detail ->> 'open_ms')::float) AS quantiles
  FROM routing_event
 WHERE at >= now() - interval '5 minutes' AND event = 'send_success' AND detail ? 'open_ms'
 GROUP BY destination ORDER BY destination
