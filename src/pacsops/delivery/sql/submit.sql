-- sending → sent: Orthanc has taken the job.
UPDATE routing_state
   SET status = 'sent', job_id = %(job_id)s, job_status = 'pending', updated_at = now()
 WHERE id = %(id)s AND claim_token = %(token)s AND status = ANY (%(from_states)s)
RETURNING id, source, study_id, route_name, destination, attempt_count
