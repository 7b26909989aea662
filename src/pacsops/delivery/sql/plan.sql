-- Promise a delivery. No row: it was promised before.
INSERT INTO routing_state (
    source, level, resource_id, route_name, destination,
    study_id, study_uid, patient_name, patient_id, study_description, study_date,
    instances, content_fingerprint, route_version, priority, max_attempts, backoff, initial_delay,
    deliver_within
) VALUES (
    %(source)s, %(level)s, %(resource_id)s, %(route_name)s, %(destination)s,
    %(study_id)s, %(study_uid)s, %(patient_name)s, %(patient_id)s, %(study_description)s, %(study_date)s,
    %(instances)s, %(content_fingerprint)s, %(route_version)s, %(priority)s,
    %(max_attempts)s, %(backoff)s, %(initial_delay)s, %(deliver_within)s
)
ON CONFLICT (source, level, resource_id, route_name, destination) DO NOTHING
RETURNING id
