-- A destination as it is now, until the transaction ends. A statement of its own, before the one that changes it: a
-- statement that has to wait for the row goes on with the row of before, and a breaker that was opened meanwhile is
-- neither open nor closed to it.
SELECT breaker, opened_at, last_success_at
  FROM destination_health
 WHERE destination = %(destination)s
   FOR UPDATE
