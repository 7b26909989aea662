-- Runs with 0.1.0 and newer.
-- What a failed attempt failed at, and by when a delivery is to be done. A router of the version before neither reads
-- nor writes these columns.
ALTER TABLE routing_state
    ADD COLUMN deliver_within        integer,                     -- seconds from open_since; NULL: no service level
    ADD COLUMN failure_status        integer,                     -- DIMSE status the destination answered
    ADD COLUMN failure_sop_class     varchar(64),                 -- of the image it failed at, where that is known
    ADD COLUMN failure_syntax        varchar(64),                 -- that image's transfer syntax
    ADD COLUMN failure_told_at       timestamptz;                 -- the last_error_at that the three belong to
CREATE INDEX idx_routing_state_deadline ON routing_state (open_since)
    WHERE deliver_within IS NOT NULL AND status IN ('pending', 'sending', 'sent', 'failed', 'stuck');
