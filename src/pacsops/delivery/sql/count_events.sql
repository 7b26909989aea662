-- What happened from `since` until before `until`, by metric and destination (empty: of the whole site). Counts of
-- adjoining spans add up to that of both: a study counts as matched in the one span in which it first was.
WITH happened AS MATERIALIZED (
    SELECT event, source, study_id, coalesce(destination, '') AS destination, (detail ->> 'open_ms')::bigint AS open_ms
      FROM routing_event
     WHERE at >= %(since)s::timestamptz AND at < %(until)s::timestamptz
       AND event IN ('study_received', 'route_matched', 'send_started', 'send_success', 'send_failed', 'study_stuck',
                     'delivery_skipped')
)
SELECT CASE event WHEN 'study_received' THEN 'received' WHEN 'send_started' THEN 'sent'
                  WHEN 'send_success' THEN 'success' WHEN 'send_failed' THEN 'failed'
                  WHEN 'study_stuck' THEN 'stuck' WHEN 'delivery_skipped' THEN 'skipped' END AS metric,
       destination, count(*) AS total
  FROM happened WHERE event <> 'route_matched' GROUP BY event, destination
UNION ALL
SELECT 'matched', '', count(DISTINCT (h.source, h.study_id))
  FROM happened h
 WHERE h.event = 'route_matched'
   AND NOT EXISTS (SELECT 1 FROM routing_event e
                    WHERE e.study_id = h.study_id AND e.source = h.source AND e.event = 'route_matched'
                      AND e.at < %(since)s::timestamptz)
UNION ALL
SELECT 'latency_count', destination, count(*) FROM happened WHERE open_ms IS NOT NULL GROUP BY destination
UNION ALL
SELECT 'latency_ms', destination, sum(open_ms)::bigint FROM happened WHERE open_ms IS NOT NULL GROUP BY destination
